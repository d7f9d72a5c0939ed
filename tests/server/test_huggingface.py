"""A classifier of Hugging Face that is written out answers on a live TorchServe as the network of transformers does."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.serving import json_of
from torchserve_saliency_cli.archive import main
from torchserve_saliency_cli.client.transport import Part, form
from torchserve_saliency_cli.torchserve.server import TorchServe


def test_a_vision_transformer_answers_with_a_map(tmp_path: Path, leaf: bytes) -> None:
    transformers = pytest.importorskip("transformers", reason="the test needs the package transformers (extra hf)")
    from tools.huggingface.networks import classifier, save

    network = classifier("ViT")
    save(network, tmp_path / "vit")
    store = tmp_path / "store"
    words = ("--model-name", "vit", "--arch", f"hf:{tmp_path / 'vit'}", "--export-path", str(store), "--sanity", "off")
    assert main(words) == 0
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path / "vit")
    picture = Image.open(io.BytesIO(leaf)).convert("RGB")
    x = processor(picture, return_tensors="pt")["pixel_values"].requires_grad_()
    logits = network(pixel_values=x).logits[0]
    probabilities = logits.softmax(0).tolist()
    best = int(logits.argmax())
    gradient = torch.autograd.grad(logits[best], x)[0][0].abs().amax(0).numpy()
    with TorchServe(store) as server:
        body, content_type = form([Part("data", leaf, "leaf.png"), Part("format", b"npy")])
        answer = server.request("POST", "/explanations/vit", body, {"Content-Type": content_type})
        predictions = json_of(server.request("POST", "/predictions/vit", leaf))
    assert answer.status == 200
    np.testing.assert_allclose(np.load(io.BytesIO(answer.body))[0], gradient, rtol=1e-3, atol=1e-4 * gradient.max())
    expected = {f"kind {index}": probability for index, probability in enumerate(probabilities)}
    assert predictions == pytest.approx({name: expected[name] for name in predictions}, abs=1e-5)
    assert next(iter(predictions)) == f"kind {best}"
