"""Occlusion: a window slides over the picture, and the loss of score is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import torch
from torch import Tensor

from torchserve_saliency.engine.rows import Rows
from torchserve_saliency.errors import bad_option
from torchserve_saliency.images.preprocessing import InputSpec
from torchserve_saliency.methods.base import Cost, Maps, Method, Steps, Subject, chunks
from torchserve_saliency.methods.baselines import baseline, baseline_option, seed_option
from torchserve_saliency.schema import Integer, option

WINDOWS = 7  # number of default windows that fit side by side on the shorter side
_LONGEST = 4096  # pixels


@dataclass(frozen=True)
class Occlusion:
    """The window, its stride, and the baseline inside the window."""

    window: int = option(
        0,
        Integer(0, _LONGEST),
        "Side of the square that covers the picture; 0 is a seventh of the shorter side",
        unit="pixels",
    )
    stride: int = option(
        0,
        Integer(0, _LONGEST),
        "Distance from one square to the next, each one forward pass; 0 is half the side",
        unit="pixels",
    )
    baseline: str = baseline_option()
    seed: int = seed_option()


def _fit(p: Occlusion, spec: InputSpec) -> Occlusion:
    """Return the parameters with defaults in pixels; raise RequestError 400 if window and stride do not fit."""
    side = min(spec.size)
    window = p.window or -(-side // WINDOWS)
    stride = p.stride or -(-window // 2)
    if window > side:
        raise bad_option("window", f"'window' must be at most {side}, the input's shorter side, not {window}")
    if stride > window:
        raise bad_option(
            "stride", f"'stride' must be at most {window}, the window's side, to cover every pixel, not {stride}"
        )
    return replace(p, window=window, stride=stride)


def _cost(p: Occlusion, spec: InputSpec) -> Cost:
    """Return a forward pass of the picture, and one for each position of the window."""
    fitted = _fit(p, spec)
    down, across = (_window_count(length, fitted) for length in spec.size)
    return Cost(1 + down * across)


def occlusion(subject: Subject, p: Occlusion) -> Steps:
    """Mean loss of score over the windows that cover a pixel, [T, 1, H, W] (Zeiler and Fergus 2013).

    The last window of a row or column is cut off at the border of the picture.
    """
    clean = yield Rows(subject.x, subject.objective, gradient=False)
    objective = subject.objective.fixed(clean.pairs[0])
    fitted = _fit(p, subject.spec)
    absent = baseline(p.baseline, subject.x, subject.spec, p.seed)
    down, across = (_window_masks(length, fitted) for length in subject.x.shape[2:])
    places = torch.cartesian_prod(torch.arange(len(down)), torch.arange(len(across)))
    lost = []
    for row, column in (chunk.unbind(1) for chunk in chunks(places)):
        hidden = (down[row][:, None, :, None] & across[column][:, None, None, :]).to(subject.x.device)
        answer = yield Rows(torch.where(hidden, absent, subject.x), objective, gradient=False)
        lost.append(clean.scores[:, :1] - answer.scores)
    return Maps(_mean_per_pixel(torch.cat(lost, 1), down, across)[:, None].to(subject.x))


def _window_count(length: int, p: Occlusion) -> int:
    """Return the number of windows that cover a line of pixels."""
    return -(-(length - p.window) // p.stride) + 1


def _window_masks(length: int, p: Occlusion) -> Tensor:
    """Return masks of the pixels of a line that each window covers, booleans [windows, length]."""
    begins = torch.arange(_window_count(length, p))[:, None] * p.stride
    pixels = torch.arange(length)
    return (pixels >= begins) & (pixels < begins + p.window)


def _mean_per_pixel(lost: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Return the mean loss [T, H, W] over the windows that cover each pixel, for losses [T, windows] row by row."""
    high, wide = down.to(lost), across.to(lost)
    total = torch.einsum("trc,rh,cw->thw", lost.view(-1, len(down), len(across)), high, wide)
    return total / torch.outer(high.sum(0), wide.sum(0))


OCCLUSION_METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "occlusion": Method(
            occlusion,
            Occlusion,
            "Zeiler and Fergus 2013, arXiv:1311.2901",
            "How much the score drops if a square covers each place",
            cost=_cost,
            fit=_fit,
        ),
    }
)
