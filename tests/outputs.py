"""Networks with outputs of several forms and meanings, and their scores by plain autograd."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from tests.archives import returning, seeded, unpacked
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.requests.message import Message
from torchserve_saliency.requests.query import read_query

LIMIT = 10_000_000
LABELS = ("rust", "scab", "rot", "mildew")
# at batch size 1, the squeezed output has one dimension only
FORMS: Mapping[str, tuple[str, dict[str, object]]] = {
    "a1 multi-label": ("logits * 9", {"activation": "sigmoid"}),
    "a2 one logit": ("logits[:, 2:3] * 9", {}),
    "a2 one logit, saturated": ("logits[:, 2:3] + 18.42", {}),
    "a3 softmax": ("(logits * 9).softmax(1)", {"activation": "none"}),
    "a3 sigmoid": ("(logits * 9).sigmoid()", {"activation": "none"}),
    "c6 [n]": ("logits[:, 2] * 9", {}),
    "c6 [n, K, 1, 1]": ("logits[:, :, None, None]", {}),
    "c6 squeezed": ("logits.squeeze()", {}),
}


def explainer(folder: Path, form: str, labels: tuple[str, ...] | None = None, **handler: object) -> Explainer:
    expression, configured = FORMS.get(form, (form, {}))
    directory = unpacked(folder, returning(expression), **{**configured, **handler})
    if labels:
        (directory / "index_to_name.json").write_text(json.dumps(dict(enumerate(labels))))
    return Explainer.load(directory)


def reference(
    folder: Path, x: Tensor, form: str, score: str, target: int, against: int | None
) -> tuple[Tensor, Tensor]:
    """Return the probabilities [K] and the gradient [C, H, W] of a score by plain autograd in float64."""
    network = seeded(folder / "net.py").eval().double()
    x = x.double().requires_grad_()
    logits = network(x).reshape(1, -1)
    if logits.shape[1] == 1:
        logits = torch.cat([-logits, logits], 1)
    activation = "none" if "a3" in form else "sigmoid" if "a1" in form or logits.shape[1] == 2 else "softmax"
    log_probability = {
        "none": logits.clamp_min(1e-300).log(),
        "sigmoid": -torch.nn.functional.softplus(-logits),
        "softmax": logits.log_softmax(1),
    }[activation]
    scores = {"logit": logits, "log_probability": log_probability, "probability": log_probability.exp()}[score][0]
    value = scores[target] - (scores[against] if against is not None else 0)
    (gradient,) = torch.autograd.grad(value, x)
    return log_probability.exp()[0].detach(), gradient[0]


def network_input(made: Explainer, data: bytes) -> Tensor:
    return read_query(Message({"data": data}), made.classifier).picture.tensor[None]


TWO_HEADS = "{'species': logits * 3, 'disease': torch.stack([x.mean((1, 2, 3)) + 0.4, logits[:, 3] * 4], 1)}"


def two_heads(folder: Path, **handler: object) -> Explainer:
    directory = unpacked(folder, returning(TWO_HEADS), activation={"disease": "sigmoid"}, **handler)
    labels = {"species": ["apple", "pear", "plum", "quince"], "disease": ["scab", "rust"]}
    (directory / "heads.json").write_text(json.dumps(labels))
    return Explainer.load(directory)
