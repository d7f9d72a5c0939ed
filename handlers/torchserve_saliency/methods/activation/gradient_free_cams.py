"""Class activation maps without gradients: a layer's channels, weighted by their effect on the score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from torchserve_saliency.engine.rows import Answer, ChannelMask, Rows
from torchserve_saliency.images.preprocessing import InputSpec
from torchserve_saliency.methods.activation.grad_cams import LAYER_NEEDS, Cam, fuse_layers, layer_findings, upsample
from torchserve_saliency.methods.activation.layer_options import channels_option, layer_names, strongest_channels
from torchserve_saliency.methods.base import CHUNK, Cost, Maps, Method, Steps, Subject


@dataclass(frozen=True)
class GradientFreeCam(Cam):
    """The layers, and the number of channels of each layer that the map is made of."""

    channels: int = channels_option(256, "Channels of each layer to use, strongest first; each needs one forward pass")


def _cost(p: GradientFreeCam, spec: InputSpec) -> Cost:
    """Return a forward pass of the clean picture and at most one per channel of each layer."""
    return Cost(1 + len(layer_names(p.layer)) * p.channels)


def score_cam(subject: Subject, p: GradientFreeCam) -> Steps:
    """Positive part of the sum of a layer's channels, weighted by their scores as masks, upsampled (Wang et al. 2020).

    Each channel is upsampled, scaled to 0-1 and multiplied with the normalised input. The weights are the softmax over
    channels of the scores of these masked inputs.
    """
    answer = yield Rows(subject.x, subject.objective, gradient=False, layers=layer_names(p.layer))
    objective = subject.objective.fixed(answer.pairs[0])
    sums = []
    for layer in layer_names(p.layer):
        grid = answer.activations[layer]
        grid = grid[:, strongest_channels(grid, p.channels)]
        scores = []
        for chunk in grid.split(CHUNK, 1):
            masked = yield Rows(subject.x * _masks(chunk, subject.x), objective, gradient=False)
            scores.append(masked.scores)
        sums.append(_weighted_sum(torch.cat(scores, 1).softmax(1), grid))
    return _signed_maps(sums, answer, subject, p)


def ablation_cam(subject: Subject, p: GradientFreeCam) -> Steps:
    """Positive part of the sum of a layer's channels, weighted by the loss of score without each of them, upsampled.

    Desai and Ramaswamy 2020. A weight is the difference in score if the channel is set to 0, divided by the absolute
    value of the score, so that a loss counts as positive for a negative logit too.
    """
    answer = yield Rows(subject.x, subject.objective, gradient=False, layers=layer_names(p.layer))
    objective = subject.objective.fixed(answer.pairs[0])
    whole = answer.scores[:, :1]
    sums = []
    for layer in layer_names(p.layer):
        grid = answer.activations[layer]
        channels = strongest_channels(grid, p.channels)
        scores = []
        for chunk in channels.cpu().split(CHUNK):
            rows = subject.x.expand(len(chunk), -1, -1, -1)
            without = yield Rows(rows, objective, gradient=False, channel_mask=ChannelMask(layer, chunk))
            scores.append(without.scores)
        lost = (whole - torch.cat(scores, 1)) / torch.where(whole == 0, 1, whole.abs())
        sums.append(_weighted_sum(lost, grid[:, channels]))
    return _signed_maps(sums, answer, subject, p)


def _masks(channels: Tensor, like: Tensor) -> Tensor:
    """Return channels [1, n, h, w] as masks [n, 1, H, W], scaled to 0-1; the mask of a constant channel is all 0."""
    enlarged = upsample(channels.transpose(0, 1), like)
    low, high = enlarged.amin((2, 3), keepdim=True), enlarged.amax((2, 3), keepdim=True)
    return ((enlarged - low) / torch.where(high > low, high - low, 1)).to(like)


def _weighted_sum(weights: Tensor, grid: Tensor) -> Tensor:
    """Return the sum [T, 1, h, w] of channels [1, K, h, w] times weights [T, K]."""
    return torch.einsum("tk,xkhw->txhw", weights.to(grid), grid)


def _signed_maps(sums: Sequence[Tensor], answer: Answer, subject: Subject, p: GradientFreeCam) -> Maps:
    """Return the positive parts of the layers' sums [T, 1, h, w] as maps; the negative parts are the opposing maps."""
    return Maps(
        fuse_layers([one.relu() for one in sums], subject.x),
        layer_findings(answer, p.layer),
        opposing=lambda: -fuse_layers([(-one).relu() for one in sums], subject.x),
    )


GRADIENT_FREE_CAM_METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "score_cam": Method(
            score_cam,
            GradientFreeCam,
            "Wang et al. 2020, arXiv:1910.01279",
            "The regions that keep the score high if only they are shown",
            LAYER_NEEDS,
            _cost,
            signed=False,
        ),
        "ablation_cam": Method(
            ablation_cam,
            GradientFreeCam,
            "Desai and Ramaswamy 2020, doi:10.1109/WACV45572.2020.9093360",
            "The regions whose features lower the score if they are switched off",
            LAYER_NEEDS,
            _cost,
        ),
    }
)
