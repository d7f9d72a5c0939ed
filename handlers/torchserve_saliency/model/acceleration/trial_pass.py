"""A forward and backward pass on an example, by which a network is tested at load, and comparisons of its results."""

from __future__ import annotations

import torch
from torch import Tensor

from torchserve_saliency.model.logits import Forward


def logits_and_gradient(forward: Forward, example: Tensor, cotangent: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the logits [n, K], and the gradient [n, C, H, W] of sum(cotangent * logits) with respect to the input.

    The default `cotangent` [n, K] mixes all logits. If the logits are not differentiable, the gradient is zero.
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


def one_hot_prediction(logits: Tensor) -> Tensor:
    """Return the one-hot vector [n, K] of the class with the largest logit in each row."""
    return torch.zeros_like(logits).scatter_(1, logits.argmax(1, keepdim=True), 1.0)


def relative_error(values: Tensor, reference: Tensor) -> float:
    """Return the norm of the difference divided by the norm of the reference, in float64; 0 if both are zero."""
    difference, size = float((values.double() - reference.double()).norm()), float(reference.double().norm())
    return difference / size if size else (0.0 if difference == 0 else float("inf"))
