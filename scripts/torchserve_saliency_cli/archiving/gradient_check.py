"""The checks of a network in float64: its output, and its gradient against slopes by finite differences."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from torchserve_saliency.engine.network_pass import Pass
from torchserve_saliency.engine.objective import Objective
from torchserve_saliency.engine.rows import Rows
from torchserve_saliency.errors import RequestError, error_summary
from torchserve_saliency.model.classifier import Classifier

_GOOD = 1e-4
# in units of the input: a long step may cross a kink, a short one is lost in the rounding of float64
STEPS = (1e-6, 1e-7, 1e-8, 1e-9, 1e-5, 1e-4, 1e-3, 1e-2)


class RefusedError(Exception):
    """The network cannot be explained; the message says why."""


@dataclass(frozen=True)
class Slopes:
    """The slopes of one logit along some directions, by autograd and by central differences of width `step`."""

    autograd: tuple[float, ...]
    differences: tuple[float, ...]
    step: float

    @property
    def error(self) -> float:
        """Return the largest difference between the two kinds, relative to the steepest slope."""
        largest = max(map(abs, (*self.autograd, *self.differences)))
        difference = max(abs(a - d) for a, d in zip(self.autograd, self.differences, strict=True))
        return difference / largest if largest else 0.0


def check_output(classifier: Classifier, x: Tensor) -> int:
    """Return the predicted class of the default head.

    Raise RefusedError for logits that are not finite, random, constant, or dependent on the rest of the batch.
    """
    other = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=x.dtype)
    with torch.no_grad():
        first = _first_logits(classifier, x)
        again, different = (classifier.forward(v) for v in (x.clone(), other))
        together = classifier.forward(torch.cat([x, other]))[:1]
    if not bool(torch.isfinite(first).all()):
        raise RefusedError("the logits of a picture are not finite")
    scale = float(first.abs().max())
    if float((first - again).abs().max()) > 1e-9 * scale:
        raise RefusedError("two passes of one picture differ: something is random in eval mode (dropout left on?)")
    if float((first - different).abs().max()) <= 1e-14 * scale:
        raise RefusedError("the output is constant: it is the same for different pictures")
    if float((first - together).abs().max()) > 1e-6 * scale:
        raise RefusedError("the logits of a picture depend on the other pictures in its batch")
    return int(classifier.heads.default.columns.of(first).argmax())


def _first_logits(classifier: Classifier, x: Tensor) -> Tensor:
    """Return the logits of `x` in float64; raise RefusedError if the network does not run in float64."""
    try:
        return classifier.forward(x)
    except RuntimeError as error:
        hint = "" if classifier.hookable else "; TorchScript must not be frozen, nor contain a precision"
        raise RefusedError(
            f"it fails in float64, in which its gradient is checked: {error_summary(error)}{hint}"
        ) from error


def finite_gradient(classifier: Classifier, x: Tensor, index: int) -> Tensor:
    """Return the engine's gradient [C, H, W] of one logit; raise RefusedError unless it is finite and not zero."""
    try:
        (answer,) = (
            Pass(classifier, [Rows(x, Objective((index,), columns=classifier.heads.default.columns))])
            .forward()
            .backward()
        )
    except RuntimeError as error:
        raise RefusedError(f"the output cannot be differentiated: {error}") from error
    if isinstance(answer, RequestError):
        raise RefusedError(answer.message)
    gradient = answer.grad[0, 0]
    if not bool(torch.isfinite(gradient).all()):
        raise RefusedError("the gradient of a picture is not finite")
    if not bool(gradient.any()):
        raise RefusedError(f"no gradient of class {index} reaches the input: every map would be zero")
    return gradient


def best_slopes(classifier: Classifier, x: Tensor, index: int, gradient: Tensor, count: int = 5) -> Slopes:
    """Return the slopes along `count` random directions, for the step at which the two kinds agree best."""
    generator = torch.Generator().manual_seed(2)
    directions = [torch.randn(x.shape, generator=generator, dtype=x.dtype) for _ in range(count)]
    autograd = tuple(float((gradient * d[0]).sum()) for d in directions)
    column = classifier.heads.default.columns.start + index
    tried: list[Slopes] = []
    with torch.no_grad():
        for step in STEPS:
            ends = [[float(classifier.forward(x + s * d)[0, column]) for s in (step, -step)] for d in directions]
            tried.append(Slopes(autograd, tuple((up - down) / (2 * step) for up, down in ends), step))
            if tried[-1].error <= _GOOD:
                break
    return min(tried, key=lambda slopes: slopes.error)
