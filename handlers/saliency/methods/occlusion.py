"""A window moved over the picture, and the score lost behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import torch
from torch import Tensor

from saliency.errors import bad_option
from saliency.image import InputSpec
from saliency.methods.base import Cost, Maps, Method, Steps, Subject, chunks
from saliency.methods.baselines import baseline, baseline_option, seed_option
from saliency.rows import Rows
from saliency.schema import Integer, option

WINDOWS = 7  # that the shorter side holds side by side, unless a request says otherwise
_LONGEST = 4096  # pixels


@dataclass(frozen=True)
class Occlusion:
    """The window, how far it moves at a time, and what it shows."""

    window: int = option(0, Integer(0, _LONGEST), "side of the square in pixels; 0: a seventh of the shorter side")
    stride: int = option(
        0, Integer(0, _LONGEST), "pixels between windows, a forward pass each; 0: half the window, 169 at 224 x 224"
    )
    baseline: str = baseline_option()
    seed: int = seed_option()


def _fit(p: Occlusion, spec: InputSpec) -> Occlusion:
    """Return the parameters with window and stride in pixels; a 400 where they do not cover the input."""
    side = min(spec.size)
    window = p.window or -(-side // WINDOWS)
    stride = p.stride or -(-window // 2)
    if window > side:
        raise bad_option("window", f"'window' must be at most {side}, the input's shorter side, not {window}")
    if stride > window:
        raise bad_option(
            "stride", f"'stride' must be at most the window's {window}, to cover every pixel, not {stride}"
        )
    return replace(p, window=window, stride=stride)


def _cost(p: Occlusion, spec: InputSpec) -> Cost:
    """Return the clean picture, and one for each place of the window."""
    fitted = _fit(p, spec)
    down, across = (_places(length, fitted) for length in spec.size)
    return Cost(1 + down * across)


def occlusion(subject: Subject, p: Occlusion) -> Steps:
    """Mean score lost to the windows over each pixel (Zeiler and Fergus 2013); the last windows end at the border."""
    clean = yield Rows(subject.x, subject.objective, gradient=False)
    objective = subject.objective.fixed(clean.pairs[0])
    fitted = _fit(p, subject.spec)
    absent = baseline(p.baseline, subject.x, subject.spec, p.seed)
    down, across = (_windows(length, fitted) for length in subject.x.shape[2:])
    places = torch.cartesian_prod(torch.arange(len(down)), torch.arange(len(across)))
    lost = []
    for row, column in (chunk.unbind(1) for chunk in chunks(places)):
        hidden = (down[row][:, None, :, None] & across[column][:, None, None, :]).to(subject.x.device)
        answer = yield Rows(torch.where(hidden, absent, subject.x), objective, gradient=False)
        lost.append(clean.scores[:, :1] - answer.scores)
    return Maps(_mean(torch.cat(lost, 1), down, across)[:, None].to(subject.x))


def _places(length: int, p: Occlusion) -> int:
    """Return how many windows it takes to cover a line of pixels."""
    return -(-(length - p.window) // p.stride) + 1


def _windows(length: int, p: Occlusion) -> Tensor:
    """Return which pixels of a line each window covers, booleans [windows, length]."""
    begins = torch.arange(_places(length, p))[:, None] * p.stride
    pixels = torch.arange(length)
    return (pixels >= begins) & (pixels < begins + p.window)


def _mean(lost: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Return the mean [T, H, W] over each pixel's windows of what was lost to them, [T, windows] row by row."""
    high, wide = down.to(lost), across.to(lost)
    total = torch.einsum("trc,rh,cw->thw", lost.view(-1, len(down), len(across)), high, wide)
    return total / torch.outer(high.sum(0), wide.sum(0))


OCCLUSION: Mapping[str, Method] = MappingProxyType(
    {
        "occlusion": Method(occlusion, Occlusion, "Zeiler and Fergus 2013, arXiv:1311.2901", cost=_cost, fit=_fit),
    }
)
