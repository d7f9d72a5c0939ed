"""The precision of a network's computations, and the errors of its logits and input gradient relative to float32."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from torchserve_saliency.errors import ModelError, error_summary
from torchserve_saliency.model.acceleration.trial_pass import logits_and_gradient, one_hot_prediction, relative_error
from torchserve_saliency.model.logits import Forward

logger = logging.getLogger(__name__)
PRECISIONS: Mapping[str, torch.dtype] = MappingProxyType(
    {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
)
# factors for gradients in a type whose numbers end at 6e-8 and 65504; the first that the next does not improve is used
_LOSS_SCALES: Mapping[str, tuple[float, ...]] = MappingProxyType({"fp16": (1.0, 2.0**5, 2.0**10, 2.0**15)})
_IMPROVEMENT = 0.9  # ratio of errors below which a loss scale counts as better


@dataclass(frozen=True)
class Precision:
    """The precision of a network's computations, with the relative errors of its logits and input gradient.

    The errors are measured on seeded noise, the gradient's for the predicted classes. In the backward pass, gradients
    are multiplied by `loss_scale` so that they do not underflow.
    """

    precision: str = "fp32"
    logits_error: float = 0.0
    gradient_error: float = 0.0
    loss_scale: float = 1.0

    @property
    def reduced(self) -> bool:
        return self.precision != "fp32"

    def applied(self, forward: Forward) -> Forward:
        """Return `forward` itself for fp32, else a function that runs it in autocast and returns float32 logits."""
        if not self.reduced:
            return forward
        dtype = PRECISIONS[self.precision]

        def reduced(x: Tensor) -> Tensor:
            with torch.autocast(x.device.type, dtype):
                logits = forward(x)
            return logits.float()

        return reduced


def known_precision(name: object) -> str:
    """Return the name if it is one of PRECISIONS, else raise ModelError."""
    if name not in PRECISIONS:
        raise ModelError(f"unknown precision {name!r}; it must be one of {', '.join(PRECISIONS)}")
    return str(name)


def choose_precision(wanted: str, forward: Forward, example: Tensor) -> Precision:
    """Return the precision `wanted`, with its errors on `example` [n, C, H, W].

    If `forward` fails in that precision, or an error is 1 or more, log a warning and return fp32.
    """
    if wanted == "fp32":
        return Precision()
    try:
        measured = _measure(wanted, forward, example)
    except Exception as error:
        logger.warning("precision %s does not work here, fp32 is used: %s", wanted, error_summary(error))
        return Precision()
    if measured.logits_error < 1 and measured.gradient_error < 1:
        return measured
    errors = f"{measured.logits_error:.2g} in the logits, {measured.gradient_error:.2g} in the gradient"
    logger.warning("precision %s is too low for this network, fp32 is used: relative errors %s", wanted, errors)
    return Precision()


def _measure(wanted: str, forward: Forward, example: Tensor) -> Precision:
    """Return a precision with its errors, at the smallest loss scale that the next one does not improve on."""
    with torch.no_grad():
        cotangent = one_hot_prediction(forward(example))
    reference = logits_and_gradient(forward, example, cotangent)
    best: Precision | None = None
    for scale in _LOSS_SCALES.get(wanted, (1.0,)):
        trial = Precision(wanted, loss_scale=scale)
        logits, gradient = logits_and_gradient(trial.applied(forward), example, cotangent * scale)
        errors = relative_error(logits, reference[0]), relative_error(gradient / scale, reference[1])
        if best and not errors[1] < _IMPROVEMENT * best.gradient_error:
            break
        best = Precision(wanted, *errors, scale)
    assert best is not None
    return best
