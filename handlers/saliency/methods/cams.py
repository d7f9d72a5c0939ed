"""Class activation maps: a layer's channels, weighted by what they mean to the class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch.nn.functional as F
from torch import Tensor

from saliency.methods.base import Maps, Method, Need, Steps, Subject
from saliency.rows import Rows
from saliency.schema import Text, option


@dataclass(frozen=True)
class Cam:
    """The layer that is read; None until the network's own default takes its place."""

    layer: str | None = option(None, Text(), "name of the layer that is read")


def grad_cam(subject: Subject, p: Cam) -> Steps:
    """Positive part of a layer's channels weighted by their mean gradients, upsampled (Selvaraju et al. 2017)."""
    answer = yield Rows(subject.x, subject.objective, layer=p.layer)
    weights = answer.grad[:, 0].mean((2, 3), keepdim=True)
    assert answer.activation is not None
    maps = (weights * answer.activation).sum(1, keepdim=True).relu()
    return Maps(upsampled(maps, subject.x))


def upsampled(maps: Tensor, like: Tensor) -> Tensor:
    """Return maps [T, 1, h, w] scaled bilinearly to the input's height and width."""
    return F.interpolate(maps, size=like.shape[2:], mode="bilinear", align_corners=False)


_LAYER = (Need.HOOKS, Need.LAYER)
CAMS: Mapping[str, Method] = MappingProxyType(
    {
        "grad_cam": Method(grad_cam, Cam, "Selvaraju et al. 2017, arXiv:1610.02391", _LAYER),
    }
)
