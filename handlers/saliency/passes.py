"""One pass forward and backward by autograd alone: what a network is tried out with at load."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Forward = Callable[[Tensor], Tensor]


def logits_and_gradient(forward: Forward, example: Tensor, cotangent: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the logits [n, K], and the input gradient of what `cotangent` [n, K] makes of them.

    Without a cotangent it is a mixture of all logits. Logits that cannot be differentiated have a gradient of zeros.
    """
    with torch.enable_grad():
        x = example.detach().requires_grad_()
        logits = forward(x)
        if not logits.requires_grad:
            return logits, torch.zeros_like(x)
        if cotangent is None:
            cotangent = torch.linspace(-1, 1, logits.numel(), device=x.device).view_as(logits)
        (gradient,) = torch.autograd.grad(logits, x, cotangent, allow_unused=True, materialize_grads=True)
    return logits.detach(), gradient


def predicted(logits: Tensor) -> Tensor:
    """Return the cotangent [n, K] of each row's predicted class: one-hot."""
    return torch.zeros_like(logits).scatter_(1, logits.argmax(1, keepdim=True), 1.0)


def relative(ours: Tensor, theirs: Tensor) -> float:
    """Return the norm of the difference over the norm of theirs, 0 where both are zero, in float64."""
    apart, size = float((ours.double() - theirs.double()).norm()), float(theirs.double().norm())
    return apart / size if size else (0.0 if apart == 0 else float("inf"))
