"""Class activation maps of many forward passes: a layer's channels, weighted by what the score does with or without."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from saliency.image import InputSpec
from saliency.methods.base import CHUNK, Cost, Maps, Method, Steps, Subject
from saliency.methods.cams import LAYER, Cam, fused, upsampled
from saliency.methods.layers import channels_option, names, strongest
from saliency.rows import Rows, Silence


@dataclass(frozen=True)
class MaskedCam(Cam):
    """The layers that are read, and how many channels of each are tried, a forward pass each."""

    channels: int = channels_option(
        256, "channels of a layer that are tried, the strongest first: the map is the sum of these"
    )


def _cost(p: MaskedCam, spec: InputSpec) -> Cost:
    """Return the clean picture and a row a channel, should the layers have so many."""
    return Cost(1 + len(names(p.layer)) * p.channels)


def score_cam(subject: Subject, p: MaskedCam) -> Steps:
    """Channels weighted by the softmax of the scores of the picture seen through each of them (Wang et al. 2020).

    A channel is upsampled and scaled to 0-1; what is left of the picture is the product, on 0 in the normalised input.
    """
    answer = yield Rows(subject.x, subject.objective, gradient=False, layers=names(p.layer))
    objective = subject.objective.fixed(answer.pairs[0])
    maps = []
    for layer in names(p.layer):
        grid = answer.activations[layer]
        grid = grid[:, strongest(grid, p.channels)]
        scores = []
        for some in grid.split(CHUNK, 1):
            seen = yield Rows(subject.x * _masks(some, subject.x), objective, gradient=False)
            scores.append(seen.scores)
        maps.append(_combined(torch.cat(scores, 1).softmax(1), grid))
    return Maps(fused(maps, subject.x))


def ablation_cam(subject: Subject, p: MaskedCam) -> Steps:
    """Channels weighted by the share of the score that is lost without each (Desai and Ramaswamy 2020).

    The share is of the score's absolute value: what a class loses counts for it where its logit is negative too.
    """
    answer = yield Rows(subject.x, subject.objective, gradient=False, layers=names(p.layer))
    objective = subject.objective.fixed(answer.pairs[0])
    whole = answer.scores[:, :1]
    maps = []
    for layer in names(p.layer):
        grid = answer.activations[layer]
        tried = strongest(grid, p.channels)
        scores = []
        for some in tried.cpu().split(CHUNK):
            rows = subject.x.expand(len(some), -1, -1, -1)
            without = yield Rows(rows, objective, gradient=False, silence=Silence(layer, some))
            scores.append(without.scores)
        lost = (whole - torch.cat(scores, 1)) / torch.where(whole == 0, 1, whole.abs())
        maps.append(_combined(lost, grid[:, tried]))
    return Maps(fused(maps, subject.x))


def _masks(channels: Tensor, like: Tensor) -> Tensor:
    """Return channels [1, n, h, w] as masks [n, 1, H, W] from 0 to 1; one that is even masks everything."""
    large = upsampled(channels.transpose(0, 1), like)
    low, high = large.amin((2, 3), keepdim=True), large.amax((2, 3), keepdim=True)
    return ((large - low) / torch.where(high > low, high - low, 1)).to(like)


def _combined(weights: Tensor, grid: Tensor) -> Tensor:
    """Return the positive part [T, 1, h, w] of a grid [1, K, h, w] summed with weights [T, K]."""
    return torch.einsum("tk,xkhw->txhw", weights.to(grid), grid).relu()


MASKED_CAMS: Mapping[str, Method] = MappingProxyType(
    {
        "score_cam": Method(score_cam, MaskedCam, "Wang et al. 2020, arXiv:1910.01279", LAYER, _cost),
        "ablation_cam": Method(
            ablation_cam, MaskedCam, "Desai and Ramaswamy 2020, doi:10.1109/WACV45572.2020.9093360", LAYER, _cost
        ),
    }
)
