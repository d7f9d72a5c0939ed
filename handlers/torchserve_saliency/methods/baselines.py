"""Baselines: inputs [1, C, H, W] that stand for the absence of a picture, at the start of a path or under a mask."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from torchserve_saliency.images.preprocessing import InputSpec
from torchserve_saliency.images.scale_space import ScaleSpace
from torchserve_saliency.schema import Choice, Integer, option

UNIFORM = "uniform"  # the only random baseline


def baseline_option() -> str:
    """Return the dataclass field of a parameter that names a baseline."""
    chosen: str = option("zero", Choice(tuple(BASELINES)), "Empty picture, to compare with or to fill removed parts")
    return chosen


def seed_option() -> int:
    """Return the dataclass field of a parameter that seeds a method's random numbers."""
    chosen: int = option(0, Integer(0, 2**31 - 1), "Seed of the random numbers; the same seed gives the same map")
    return chosen


def baseline(name: str, x: Tensor, spec: InputSpec, seed: int = 0) -> Tensor:
    """Return the named baseline for an input `x` [1, C, H, W]; only the uniform one depends on `seed`."""
    return BASELINES[name](x, spec, seed)


def baseline_sampler(name: str, x: Tensor, spec: InputSpec, generator: torch.Generator) -> Callable[[int], Tensor]:
    """Return a function of n that returns n baselines [n, C, H, W]; uniform ones are drawn anew, others are equal."""
    if name == UNIFORM:
        return lambda count: _uniform_pixels(x.expand(count, *x.shape[1:]), spec, generator)
    start = baseline(name, x, spec)
    return lambda count: start.expand(count, *x.shape[1:])


def seeded(seed: int, like: Tensor) -> torch.Generator:
    """Return a seeded generator on the tensor's device; its numbers depend on the type of device."""
    return torch.Generator(like.device).manual_seed(seed)


def _constant_pixels(value: float, x: Tensor, spec: InputSpec) -> Tensor:
    """Return a normalised input of which all pixels have this value in 0-1."""
    ends = (spec.unit_mean, spec.unit_std)
    mean, std = (torch.tensor(v, dtype=x.dtype, device=x.device).view(1, -1, 1, 1) for v in ends)
    return ((value - mean) / std).expand_as(x)


def _zero(x: Tensor, spec: InputSpec, seed: int) -> Tensor:
    return torch.zeros_like(x)


def _black(x: Tensor, spec: InputSpec, seed: int) -> Tensor:
    return _constant_pixels(0.0, x, spec)


def _white(x: Tensor, spec: InputSpec, seed: int) -> Tensor:
    return _constant_pixels(1.0, x, spec)


def _blur(x: Tensor, spec: InputSpec, seed: int) -> Tensor:
    """Return the input blurred until no object is left, with a standard deviation of an eighth of the shorter side."""
    return ScaleSpace(x).at(torch.tensor([max(min(x.shape[2:]) / 8, 0.5)]))


def _uniform(x: Tensor, spec: InputSpec, seed: int) -> Tensor:
    return _uniform_pixels(x, spec, seeded(seed, x))


def _uniform_pixels(x: Tensor, spec: InputSpec, generator: torch.Generator) -> Tensor:
    """Return inputs [n, C, H, W] in the shape of `x`, with pixels uniformly distributed between black and white."""
    noise = torch.rand(x.shape, generator=generator, dtype=x.dtype, device=x.device)
    black, white = _constant_pixels(0.0, x, spec), _constant_pixels(1.0, x, spec)
    return black + noise * (white - black)


_Baseline = Callable[[Tensor, InputSpec, int], Tensor]
BASELINES: Mapping[str, _Baseline] = MappingProxyType(
    {"zero": _zero, "black": _black, "white": _white, "blur": _blur, UNIFORM: _uniform}
)
