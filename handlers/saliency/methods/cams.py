"""Class activation maps: a layer's channels, weighted by what they mean to the class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor

from saliency.methods.base import Maps, Method, Need, Steps, Subject
from saliency.methods.layers import layer_option, names
from saliency.rows import Rows


@dataclass(frozen=True)
class Cam:
    """The layers that are read; None until the network's own default takes its place."""

    layer: str | None = layer_option()


def grad_cam(subject: Subject, p: Cam) -> Steps:
    """Positive part of a layer's channels weighted by their mean gradients, upsampled (Selvaraju et al. 2017)."""
    layers = names(p.layer)
    answer = yield Rows(subject.x, subject.objective, layers=layers)
    maps = []
    for layer in layers:
        weights = answer.gradients[layer][:, 0].mean((2, 3), keepdim=True)
        combined = (weights * answer.activations[layer]).sum(1, keepdim=True).relu()
        maps.append(upsampled(combined, subject.x))
    return Maps(torch.stack(maps).amax(0))


def upsampled(maps: Tensor, like: Tensor) -> Tensor:
    """Return maps [T, 1, h, w] scaled bilinearly to the input's height and width."""
    return F.interpolate(maps, size=like.shape[2:], mode="bilinear", align_corners=False)


_LAYER = (Need.HOOKS, Need.LAYER)
CAMS: Mapping[str, Method] = MappingProxyType(
    {
        "grad_cam": Method(grad_cam, Cam, "Selvaraju et al. 2017, arXiv:1610.02391", _LAYER),
    }
)
