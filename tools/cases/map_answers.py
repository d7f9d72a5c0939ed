"""Maps that were wrong or empty without a word, although their status was 200 (rows A4 to A8)."""

from __future__ import annotations

import importlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from tools.cases.case import Case, SkippedCaseError, check
from tools.cases.inputs import (
    MEAN,
    SIDE,
    STD,
    archive_small,
    bare_logits,
    check_answer,
    check_refused,
    file_of,
    photograph,
    preprocessed_by_torchvision,
    seeded_network,
)
from tools.cases.own_outputs import check_close
from tools.cases.serving import served
from tools.cases.workshop import Workshop
from torchserve_saliency.explainer import Explainer

DOCS = Path(__file__).resolve().parents[2] / "docs"
LAYER = "3"  # the last ReLU of the small network
PICTURE = photograph()
DATA = file_of(PICTURE)
TINY_SWIN: dict[str, Any] = {
    "image_size": SIDE,
    "patch_size": 2,
    "embed_dim": 16,
    "depths": [1, 1, 1],
    "num_heads": [2, 2, 2],
    "window_size": 4,
    "num_labels": 3,
}


def query_string(workshop: Workshop) -> str:
    """A4: TorchServe drops the query string; options in the path are read, and the documents say so."""
    options = (DOCS / "options.md").read_text(encoding="utf-8")
    check("Never after a `?`" in options, "docs/options.md does not say that the query string is dropped")
    headers = {"Content-Type": "image/png"}
    with served(workshop, archive_small(workshop).path, {}) as server:
        asked = "method=grad_cam&format=png"
        in_query = server.request("POST", f"/explanations/net?{asked}", DATA, headers)
        in_path = server.request("POST", f"/explanations/net/1.0/{asked}", DATA, headers)
    method = json.loads(in_query.body)["explanations"][0]["method"]
    check((in_query.status, method) == (200, "gradient"), f"after a '?': {in_query.status} {method}")
    check((in_path.status, in_path.body[:4]) == (200, b"\x89PNG"), f"in the path: {in_path.status}")
    return "dropped by TorchServe after a '?', read in the path; docs/options.md says so"


def empty_map(workshop: Workshop) -> str:
    """A5: an empty map has a note with the reason, in every format and protocol."""
    network = seeded_network()
    nn.init.uniform_(network.get_parameter("6.weight"), -1, -0.1)  # every feature speaks against every class
    handler = workshop.handler(archive_small(workshop, network=network))
    fields = {"data": DATA, "method": "grad_cam"}
    (one,) = handler.ask(fields).body["explanations"]
    check(one["saliency"]["min"] == one["saliency"]["max"] == 0, f"the map is not empty: {one['saliency']}")
    note = one["notes"][0]
    check("map is empty" in note and "speaks for the class" in note, note)
    exact = handler.ask({**fields, "format": "npy"})
    check(not np.load(io.BytesIO(exact.body)).any(), "the array is not empty")
    check(note in json.loads(exact.headers["Saliency-Metadata"])["explanations"][0]["notes"], "npy has no note")
    against = handler.ask({**fields, "reduce": "sum", "polarity": "negative"}).body["explanations"][0]
    check(against["saliency"]["min"] < 0 and "empty" not in str(against.get("notes")), "the opposing map is empty")
    nn.init.constant_(network.get_parameter("2.bias"), -99)  # no feature is active
    dead = Explainer.of(network, size=SIDE, resize=SIDE).explain(PICTURE, method="grad_cam").maps[0].findings["notes"]
    check("activations" in dead[0] and "are 0" in dead[0], dead[0])
    return str(note.split(";")[0])


def pooled_tokens(workshop: Workshop) -> str:
    """A6: pooled features [n, C, 1] are no grid of tokens; the default layer is the last norm."""
    try:
        library = importlib.import_module("transformers")
    except ImportError as error:
        raise SkippedCaseError("transformers is not installed") from error
    layers = []
    for name, prefix in (("Swin", "swin"), ("Swinv2", "swinv2")):
        torch.manual_seed(0)
        config = getattr(library, f"{name}Config")(**TINY_SWIN)
        network = getattr(library, f"{name}ForImageClassification")(config).eval()
        made = Explainer.of(network, size=SIDE, resize=SIDE)
        layers.append(str(made.classifier.layers.default))
        check(layers[-1] == f"{prefix}.layernorm", f"{name}: the default layer is {layers[-1]}")
        check(f"{prefix}.pooler" not in made.classifier.layers.names, f"{name}: the pooler is a layer")
        found = made.explain(PICTURE, method="grad_cam", target=1).maps[0].saliency
        right = upsampled(grad_cam(network, network.get_submodule(layers[-1]), 1, tokens=True).relu())
        check_close(name, found, right, 1e-3)
    return f"default layers {' and '.join(layers)}"


def evidence_against(workshop: Workshop) -> str:
    """A7: with polarity=negative, a class activation map is the part that speaks against the class, or is refused."""
    handler = workshop.handler(archive_small(workshop))
    network = seeded_network()
    cam = grad_cam(network, network.get_submodule(LAYER), 2)
    right = -upsampled((-cam).relu())
    check(bool(right.any()), "the example has no evidence against the class")
    fields = {"data": DATA, "target": 2, "layer": LAYER, "polarity": "negative", "format": "npy"}
    for reduce in ("sum", "none"):
        answer = handler.ask({**fields, "method": "grad_cam", "reduce": reduce})
        check(answer.status == 200, f"status {answer.status}: {str(answer.body)[:200]}")
        check_close(reduce, np.load(io.BytesIO(answer.body)).reshape(right.shape), right, 1e-4)
    for method in ("hires_cam", "xgrad_cam", "layer_cam", "grad_cam_plus_plus", "ablation_cam"):
        found = np.load(io.BytesIO(handler.ask({**fields, "method": method, "reduce": "sum"}).body))
        check(found.max() <= 0, f"{method}: a value is positive")
    for method in ("eigen_cam", "score_cam"):
        check_refused(handler.ask({**fields, "method": method, "reduce": "sum"}), 400, "no negative values")
    return f"the part against the class, down to {right.min():.3g}; methods without one: 400"


def twelve_bits(workshop: Workshop) -> str:
    """A8: with --white 4095, pictures of 12 bits in files of 16 keep all their levels."""
    levels = np.random.default_rng(2).permutation(np.arange(SIDE * SIDE) * 4).reshape(SIDE, SIDE).astype(np.uint16)
    image = Image.fromarray(levels)
    unit = torch.from_numpy(levels.astype(np.float64) / 4095).expand(1, 3, -1, -1)
    right = bare_logits(normalised(unit).float())
    handler = workshop.handler(archive_small(workshop, "--white", 4095))
    for name in ("PNG", "TIFF"):
        check_answer(handler.ask({"data": file_of(image, name)}), right, 1e-5)
    dark = bare_logits(normalised(unit * 4095 / 65535).float())
    check_answer(workshop.handler(archive_small(workshop)).ask({"data": file_of(image)}), dark, 1e-5)
    bright = Image.fromarray(np.full((SIDE, SIDE), 60000, np.uint16))
    check_answer(handler.ask({"data": file_of(bright)}), bare_logits(normalised(torch.ones(1, 3, SIDE, SIDE))), 1e-5)
    refused = archive_small(workshop, "--white", 0)
    check(refused.status == 2 and "--white" in refused.output, refused.output[-200:])
    return "--white 4095: all 1,024 levels of a PNG and of a TIFF are kept"


def normalised(unit: Tensor) -> Tensor:
    """Return pixels in 0-1 as an input of the small network."""
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (MEAN, STD))
    return (unit - mean) / std


def grad_cam(network: nn.Module, layer: nn.Module, target: int, tokens: bool = False) -> Tensor:
    """Return the weighted sum of a layer's channels before the ReLU of Grad-CAM, on the layer's grid, by hooks."""
    kept: list[Tensor] = []
    with layer.register_forward_hook(lambda module, args, output: kept.append(output)):
        output = network(preprocessed_by_torchvision(PICTURE))
    logits = output if isinstance(output, Tensor) else output.logits
    (gradient,) = torch.autograd.grad(logits[0, target], kept)
    maps, slopes = (_grid(each) if tokens else each for each in (kept[0].detach(), gradient))
    return (maps * slopes.mean((2, 3), keepdim=True)).sum(1, keepdim=True)


def _grid(tokens: Tensor) -> Tensor:
    side = round(tokens.shape[1] ** 0.5)
    return tokens.transpose(1, 2).reshape(1, -1, side, side)


def upsampled(grid: Tensor) -> NDArray[np.float32]:
    """Return a map [1, 1, h, w] interpolated to the size of the input, [H, W]."""
    enlarged: NDArray[np.float32] = functional.interpolate(grid, size=(SIDE, SIDE), mode="bilinear")[0, 0].numpy()
    return enlarged


CASES: tuple[Case, ...] = (
    Case("A4", "options after a '?' in the address", query_string),
    Case("A5", "Grad-CAM where nothing speaks for the class", empty_map),
    Case("A6", "Swin and SwinV2 of Hugging Face, whose pooled features look like tokens", pooled_tokens),
    Case("A7", "grad_cam with reduce=sum and polarity=negative", evidence_against),
    Case("A8", "12-bit values in a 16-bit PNG or TIFF", twelve_bits),
)
