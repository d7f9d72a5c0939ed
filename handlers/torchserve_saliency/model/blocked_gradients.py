"""Gradients through the parts of a network that block them: `torch.no_grad()`, `inference_mode()`, `detach()`, `.data`.

People write these around a backbone that they do not train. The output still depends on the input there, so its
gradient exists, and autograd computes it if the blocks have no effect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from torchserve_saliency.model.logits import Forward

_CUTS = frozenset({Tensor.detach, Tensor.detach_, torch.detach, torch.detach_, Tensor.data.__get__})  # type: ignore[attr-defined]
_FLAGS = frozenset({Tensor.requires_grad_, Tensor.requires_grad.__set__})  # type: ignore[attr-defined]
_TOLERANCE = 1e-5  # relative difference in norm from which two gradients are not the same


class Gradients(Enum):
    """The way in which a network's gradient reaches its input.

    PLAIN: it does so in an ordinary forward pass. RESTORED: it does so if blocks in the forward pass have no effect.
    NONE: it does not, because the network computes without autograd, for example by numpy, or its backward pass fails.
    """

    PLAIN = "plain"
    RESTORED = "restored"
    NONE = "none"


class _WithoutBlocks(TorchFunctionMode):
    """Computes all functions with autograd; `found` tells if something in the network would have blocked gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.found = False

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is torch._C._set_grad_enabled and args and not args[0]:
            self.found = True
            return None
        if func in _CUTS and args[0].requires_grad:
            self.found = True
            return args[0]
        if func is torch.tensor and args and isinstance(args[0], Tensor) and args[0].requires_grad:
            self.found = True
            return args[0].clone()
        if func in _FLAGS and not args[0].is_leaf:
            return args[0]
        if not torch.is_inference_mode_enabled():
            return func(*args, **kwargs or {})
        self.found = True
        with torch.inference_mode(False), torch.enable_grad():
            return func(*args, **kwargs or {})


@dataclass(frozen=True)
class Adaptation:
    """The changes that a network's forward pass needs: gradients restored, or a copy of an input that it overwrites."""

    gradients: Gradients = Gradients.PLAIN
    overwrites_input: bool = False

    def applied(self, forward: Forward) -> Forward:
        """Return a forward function that is safe to differentiate; `forward` itself if it needs no change."""
        if self == Adaptation():
            return forward

        def run(x: Tensor) -> Tensor:
            if self.gradients is Gradients.NONE:
                with torch.no_grad():
                    return forward(x.clone())
            if self.gradients is Gradients.RESTORED and torch.is_grad_enabled():
                inputs = x.clone()  # an operation in place behind `detach` would change a leaf of the graph
                with _WithoutBlocks():
                    return forward(inputs)
            return forward(x.clone() if self.overwrites_input else x)

        return run


def find_adaptation(forward: Forward, example: Tensor) -> Adaptation:
    """Return the changes that a forward pass needs, found with an input [1, C, H, W]."""
    overwrites = _overwrites_input(forward, example)
    return Adaptation(_find_gradients(Adaptation(overwrites_input=overwrites).applied(forward), example), overwrites)


def _overwrites_input(forward: Forward, example: Tensor) -> bool:
    x = example.detach().clone()
    before = x._version
    with torch.no_grad():
        forward(x)
    return x._version != before


def _find_gradients(forward: Forward, example: Tensor) -> Gradients:
    """Return the way in which the gradient of the logits reaches an input [1, C, H, W]."""
    plain = _gradient(forward, example)
    if plain is not None and not _blocks(forward, example):
        return Gradients.PLAIN
    through = _gradient(Adaptation(Gradients.RESTORED).applied(forward), example)
    if plain is None:
        return Gradients.NONE if through is None else Gradients.RESTORED
    if through is None or not bool(through.any()) or not bool(torch.isfinite(through).all()):
        return Gradients.PLAIN  # such as a straight-through estimator, which is meant to have another gradient
    same = bool((plain - through).norm() <= _TOLERANCE * through.norm())
    return Gradients.PLAIN if same else Gradients.RESTORED


def _blocks(forward: Forward, example: Tensor) -> bool:
    """Tell if a forward pass has something that could block gradients."""
    mode = _WithoutBlocks()
    try:
        with torch.enable_grad(), mode:
            forward(example.detach().clone().requires_grad_().clone())
    except Exception:
        return mode.found
    return mode.found


def _gradient(forward: Forward, example: Tensor) -> Tensor | None:
    """Return the gradient of a fixed combination of the logits in the input, or None if none reaches it."""
    x = example.detach().clone().requires_grad_()
    try:
        with torch.enable_grad():
            logits = forward(x)
            weights = torch.linspace(-1, 1, logits.numel(), device=logits.device, dtype=logits.dtype) + 0.5
            (gradient,) = torch.autograd.grad((logits.flatten() * weights).sum(), x, allow_unused=True)
    except (RuntimeError, NotImplementedError):  # no graph, or a backward pass that fails
        return None
    return gradient
