"""The precision that a network computes in, and what it costs: errors of logits and input gradient against float32."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from saliency.errors import ModelError, said
from saliency.passes import Forward, logits_and_gradient, predicted, relative

logger = logging.getLogger(__name__)
PRECISIONS: Mapping[str, torch.dtype] = MappingProxyType(
    {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
)
# how high cotangents may travel in a type that ends at 6e-8 and at 65504: the first that the next does not better
_LOSS_SCALES: Mapping[str, tuple[float, ...]] = MappingProxyType({"fp16": (1.0, 2.0**5, 2.0**10, 2.0**15)})
_BETTER = 0.9


@dataclass(frozen=True)
class Precision:
    """How a network computes, and how far from float32 that moves its logits and input gradient, in relative norm.

    The gradient is that of the predicted classes of seeded noise. Cotangents travel back `loss_scale` times as high.
    """

    precision: str = "fp32"
    logits_error: float = 0.0
    gradient_error: float = 0.0
    loss_scale: float = 1.0

    @property
    def reduced(self) -> bool:
        return self.precision != "fp32"

    def applied(self, forward: Forward) -> Forward:
        """Return `forward` in this precision, its logits handed on as float32 where it is a reduced one."""
        if not self.reduced:
            return forward
        dtype = PRECISIONS[self.precision]

        def reduced(x: Tensor) -> Tensor:
            with torch.autocast(x.device.type, dtype):
                logits = forward(x)
            return logits.float()

        return reduced


def use_whole_float32() -> None:
    """Have float32 mean float32 on a GPU, too: TensorFloat-32 keeps ten bits, and maps would be off by 1e-3."""
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def known_precision(name: object) -> str:
    """Return a precision's name; ModelError where there is none of that name."""
    if name not in PRECISIONS:
        raise ModelError(f"there is no precision {name!r}, but {', '.join(PRECISIONS)}")
    return str(name)


def choose_precision(wanted: str, forward: Forward, example: Tensor) -> Precision:
    """Return the precision wanted with its errors on `example` [n, C, H, W]; float32, and a warning, where it fails.

    It fails where `forward` raises, and where logits or gradient come out with nothing left of float32's.
    """
    if wanted == "fp32":
        return Precision()
    try:
        measured = _measured(wanted, forward, example)
    except Exception as error:
        logger.warning("precision %s does not work here, fp32 is served: %s", wanted, said(error))
        return Precision()
    if measured.logits_error < 1 and measured.gradient_error < 1:
        return measured
    errors = f"{measured.logits_error:.2g} of the logits, {measured.gradient_error:.2g} of the gradient"
    logger.warning("precision %s is too little for this network, fp32 is served: errors %s", wanted, errors)
    return Precision()


def _measured(wanted: str, forward: Forward, example: Tensor) -> Precision:
    """Return a precision with its errors, under the least loss scale that the next one does not better."""
    with torch.no_grad():
        cotangent = predicted(forward(example))
    exact = logits_and_gradient(forward, example, cotangent)
    best: Precision | None = None
    for scale in _LOSS_SCALES.get(wanted, (1.0,)):
        trial = Precision(wanted, loss_scale=scale)
        logits, gradient = logits_and_gradient(trial.applied(forward), example, cotangent * scale)
        tried = Precision(wanted, relative(logits, exact[0]), relative(gradient / scale, exact[1]), scale)
        if best and not tried.gradient_error < _BETTER * best.gradient_error:
            break
        best = tried
    assert best is not None
    return best
