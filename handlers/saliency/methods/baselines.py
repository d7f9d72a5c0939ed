"""Where a path starts and what stands for an absent part of the picture: inputs [1, C, H, W] made of another one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from saliency.image import InputSpec
from saliency.methods.blurring import ScaleSpace
from saliency.schema import Choice, Integer, option

UNIFORM = "uniform"  # the one baseline that is drawn


def baseline_option() -> str:
    """Return the field of a parameter that names a baseline."""
    chosen: str = option("zero", Choice(tuple(BASELINES)), "what stands for an absent picture")
    return chosen


def seed_option() -> int:
    """Return the field of a parameter that seeds what a method draws."""
    chosen: int = option(0, Integer(0, 2**31 - 1), "seed of what is drawn")
    return chosen


def baseline(name: str, x: Tensor, spec: InputSpec, seed: int = 0) -> Tensor:
    """Return the baseline of that name for an input `x` [1, C, H, W]; `seed` draws the uniform one."""
    return BASELINES[name](x, spec, seed)


def baselines(name: str, x: Tensor, spec: InputSpec, generator: torch.Generator) -> Callable[[int], Tensor]:
    """Return what makes n baselines [n, C, H, W] of that name: the uniform one is drawn anew, any other stays."""
    if name == UNIFORM:
        return lambda count: _drawn(x.expand(count, *x.shape[1:]), spec, generator)
    start = baseline(name, x, spec)
    return lambda count: start.expand(count, *x.shape[1:])


def seeded(seed: int, like: Tensor) -> torch.Generator:
    """Return a generator on a tensor's device: a seed draws the same numbers again on the same kind of device."""
    return torch.Generator(like.device).manual_seed(seed)


def _pixel(value: float, x: Tensor, spec: InputSpec) -> Tensor:
    """Return an input of pixels that are all `value` in 0-1, normalised."""
    mean, std = (torch.tensor(v, dtype=x.dtype, device=x.device).view(1, -1, 1, 1) for v in (spec.mean, spec.std))
    return ((value - mean) / std).expand_as(x)


def _zero(x: Tensor, spec: InputSpec, seed: int) -> Tensor:
    return torch.zeros_like(x)


def _black(x: Tensor, spec: InputSpec, seed: int) -> Tensor:
    return _pixel(0.0, x, spec)


def _white(x: Tensor, spec: InputSpec, seed: int) -> Tensor:
    return _pixel(1.0, x, spec)


def _blur(x: Tensor, spec: InputSpec, seed: int) -> Tensor:
    """Return the picture blurred until its objects are gone: a deviation of an eighth of the shorter side."""
    return ScaleSpace(x).at(torch.tensor([max(min(x.shape[2:]) / 8, 0.5)]))


def _uniform(x: Tensor, spec: InputSpec, seed: int) -> Tensor:
    return _drawn(x, spec, seeded(seed, x))


def _drawn(x: Tensor, spec: InputSpec, generator: torch.Generator) -> Tensor:
    """Return pixels drawn evenly from black to white, as many as `x` [n, C, H, W] has."""
    noise = torch.rand(x.shape, generator=generator, dtype=x.dtype, device=x.device)
    black, white = _pixel(0.0, x, spec), _pixel(1.0, x, spec)
    return black + noise * (white - black)


_Baseline = Callable[[Tensor, InputSpec, int], Tensor]
BASELINES: Mapping[str, _Baseline] = MappingProxyType(
    {"zero": _zero, "black": _black, "white": _white, "blur": _blur, UNIFORM: _uniform}
)
