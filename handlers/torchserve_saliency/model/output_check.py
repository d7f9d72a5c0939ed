"""Whether a network's outputs look like what its activation is applied to: logits, or probabilities already."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from torchserve_saliency.errors import ModelError
from torchserve_saliency.images.preprocessing import InputSpec
from torchserve_saliency.model import last_operation as ends
from torchserve_saliency.model.activation import NONE, SIGMOID, SOFTMAX
from torchserve_saliency.model.head_search import activation_of
from torchserve_saliency.model.heads import Head, Heads
from torchserve_saliency.model.logits import take_logits

PROBES, SCALES = 4, (0.25, 1.0, 8.0)  # inputs of noise: how many at each standard deviation
_SUM_TOLERANCE, _RANGE_TOLERANCE = 1e-3, 1e-6


def check_activation(network: nn.Module, heads: Heads, spec: InputSpec, configured: object) -> list[str]:
    """Return remarks on heads whose outputs for inputs of noise look like another activation than their own.

    `configured` is the activation that was chosen explicitly, a name or a mapping from heads to names, or None. Raise
    ModelError if outputs are certainly probabilities, or logarithms of them, to which the activation would be applied
    again.
    """
    inputs = _probes(spec).to(next(network.parameters(), torch.empty(0)).device)
    with ends.recorded(network):
        output: object = network(inputs.requires_grad_().clone())
    remarks: list[str] = []
    for head in heads:
        outputs = take_logits(output, head.key)
        values = outputs.detach().reshape(len(inputs), head.outputs).double()
        several = head.name if len(heads) > 1 else None
        subject = f"output '{several}'" if several else "the output"
        last, chosen = ends.last_operation(outputs), activation_of(configured, head.name) is not None
        if problem := _certain_problem(head, values, last, chosen, several):
            raise ModelError(f"{subject} {problem}")
        remarks += [f"{subject} {remark}" for remark in _doubts(head, values, last, several)]
    return remarks


def _probes(spec: InputSpec) -> Tensor:
    """Return PROBES inputs of noise at each of the SCALES."""
    noise = torch.randn(PROBES, spec.channels, *spec.size, generator=torch.Generator().manual_seed(3))
    return torch.cat([noise * scale for scale in SCALES])


def _flag(name: str, head: str | None) -> str:
    """Return how an activation is chosen at archiving and in Python; `head` is None for a network with one output."""
    flag, value = (name, repr(name)) if head is None else (f"{head}={name}", repr({head: name}))
    return f"--activation {flag} (in Python, activation={value})"


def _certain_problem(head: Head, values: Tensor, last: str, chosen: bool, several: str | None) -> str | None:
    """Return the reason why a head's activation is wrong, with the one that fits, or None."""
    activation, again = head.activation, f"to which {head.activation.name} would be applied again"
    if activation is NONE:
        return None
    if last == ends.SOFTMAX or _sums_to_one(values):
        reason = f"is probabilities already, which add up to 1 for every picture, {again}"
        return f"{reason}: {_flag(NONE.name, several)}"
    if last == ends.SIGMOID and (activation is SIGMOID or not chosen):
        reason = f"is probabilities already, because the network ends in a sigmoid, {again}"
        return f"{reason}: {_flag(NONE.name, several)}"
    if activation is SIGMOID and (last == ends.LOG_SOFTMAX or _sums_to_one(values.exp())):
        reason = "is logarithms of probabilities that add up to 1 for every picture, as log_softmax puts out"
        return f"{reason}: {_flag(SOFTMAX.name, several)}"
    if last == ends.LOG_SIGMOID:
        reason = "is logarithms of probabilities, because the network ends in logsigmoid, and no activation fits that"
        return f"{reason}: return the logits, and use {_flag(SIGMOID.name, several)}"
    return None


def _doubts(head: Head, values: Tensor, last: str, several: str | None) -> Iterator[str]:
    """Yield the remarks on a head's outputs, each with the activation that fits if the remark is right."""
    low, high = float(values.min()), float(values.max())
    inside = _within_0_and_1(values)
    if head.activation is not NONE:
        if inside and last != ends.UNBOUNDED:
            yield f"lies between 0 and 1 for every picture; if it is probabilities, use {_flag(NONE.name, several)}"
        elif high <= 0 and last not in (ends.UNBOUNDED, ends.LOG_SOFTMAX) and not _sums_to_one(values.exp()):
            yield "is never positive; if it is logarithms of probabilities, return the logits instead"
        return
    usual = SIGMOID if head.outputs == 1 else SOFTMAX
    if last == ends.LOG_SOFTMAX or _sums_to_one(values.exp()):
        yield f"is logarithms of probabilities that add up to 1 for every picture: use {_flag(SOFTMAX.name, several)}"
    elif last == ends.LOG_SIGMOID:
        yield f"is logarithms of probabilities: return the logits, and use {_flag(SIGMOID.name, several)}"
    elif not inside or last == ends.UNBOUNDED:
        reason = f"goes from {low:.3g} to {high:.3g}" if not inside else "is made by a layer without bounds"
        both = f", or {SIGMOID.name} if several classes may be true" if usual is SOFTMAX else ""
        yield f"{reason} and so is no probability; if it is logits, use {_flag(usual.name, several)}{both}"


def _within_0_and_1(values: Tensor) -> bool:
    return bool(((values >= -_RANGE_TOLERANCE) & (values <= 1 + _RANGE_TOLERANCE)).all())


def _sums_to_one(values: Tensor) -> bool:
    sums = values.sum(1)
    return values.shape[1] > 1 and _within_0_and_1(values) and bool(((sums - 1).abs() < _SUM_TOLERANCE).all())
