"""Class activation maps of one pass: a layer's channels, weighted by what they mean to the class."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor

from saliency.image import InputSpec
from saliency.methods.base import Cost, Maps, Method, Need, Steps, Subject, forward_alone
from saliency.methods.gradients import NoParameters, guided_backprop
from saliency.methods.layers import layer_option, names
from saliency.rows import Answer, Rows

LAYER = (Need.HOOKS, Need.LAYER)
Weighted = Callable[[Tensor, Tensor], Tensor]
_CANCELLED = 1e-6  # a channel's sum over its absolute sum, below which rounding alone is left of the sum


@dataclass(frozen=True)
class Cam:
    """The layers that are read; None until the network's own default takes its place."""

    layer: str | None = layer_option()


def of_gradients(weighted: Weighted, subject: Subject, p: Cam) -> Steps:
    """Positive part of the sum of a layer's weighted channels, upsampled; `weighted` is one of the five below.

    It is given activations [1, C, h, w] and gradients [T, C, h, w], and returns weighted activations [T, C, h, w].
    """
    answer = yield from _read(subject, p)
    return Maps(_summed(weighted, answer, subject, p))


def grad_cam(activation: Tensor, gradient: Tensor) -> Tensor:
    """Return channels weighted by their mean gradients (Selvaraju et al. 2017)."""
    return activation * gradient.mean((2, 3), keepdim=True)


def grad_cam_plus_plus(activation: Tensor, gradient: Tensor) -> Tensor:
    """Return channels weighted by the sum of their positive gradients, each times alpha (Chattopadhay et al. 2018).

    alpha = g² / (2 g² + S g³) with S the channel's sum, for a score whose exponential is differentiated. The paper's
    channels are never negative; where a sum is, it counts as 0, as the formula has a pole there.
    """
    total = activation.sum((2, 3), keepdim=True).relu()
    positive = gradient.relu()
    return activation * (positive / (2 + total * positive)).sum((2, 3), keepdim=True)


def hires_cam(activation: Tensor, gradient: Tensor) -> Tensor:
    """Return activations times their own gradients (Draelos and Carin 2020)."""
    return activation * gradient


def layer_cam(activation: Tensor, gradient: Tensor) -> Tensor:
    """Return activations times the positive part of their own gradients (Jiang et al. 2021)."""
    return activation * gradient.relu()


def xgrad_cam(activation: Tensor, gradient: Tensor) -> Tensor:
    """Return channels weighted by the mean of their gradients, weighted by their activations (Fu et al. 2020).

    A channel whose activations cancel out has no such mean, and no weight.
    """
    total = activation.sum((2, 3), keepdim=True)
    cancelled = total.abs() <= _CANCELLED * activation.abs().sum((2, 3), keepdim=True)
    shares = torch.where(cancelled, 0, activation / torch.where(cancelled, 1, total))
    return activation * (gradient * shares).sum((2, 3), keepdim=True)


def guided_grad_cam(subject: Subject, p: Cam) -> Steps:
    """Guided backpropagation times Grad-CAM (Selvaraju et al. 2017)."""
    answer = yield from _read(subject, p)
    fixed = replace(subject, objective=subject.objective.fixed(answer.pairs[0]))
    guided = yield from guided_backprop(fixed, NoParameters())
    return Maps(guided.values * _summed(grad_cam, answer, subject, p))


def eigen_cam(subject: Subject, p: Cam) -> Steps:
    """Positive part of a layer's first principal component, the same for every class (Muhammad and Yeasin 2020)."""
    answer = yield Rows(subject.x, subject.objective, gradient=False, layers=names(p.layer))
    maps = [principal(answer.activations[layer]).relu() for layer in names(p.layer)]
    return Maps(fused(maps, subject.x).expand(len(answer.scores), -1, -1, -1))


def principal(activation: Tensor) -> Tensor:
    """Return the first principal component [1, 1, h, w] of the positions of an activation [1, C, h, w].

    A component's sign is arbitrary: it is set to rise with the length of the positions' vectors.
    """
    vectors = activation[0].flatten(1).T
    left, sizes, _ = torch.linalg.svd(vectors - vectors.mean(0), full_matrices=False)
    component = left[:, 0] * sizes[0]
    rising = torch.dot(component, vectors.norm(dim=1)) >= 0
    return torch.where(rising, component, -component).view(1, 1, *activation.shape[2:])


def _read(subject: Subject, p: Cam) -> Generator[Rows, Answer, Answer]:
    """Return what the clean picture's layers put out, and the gradients there."""
    answer = yield Rows(subject.x, subject.objective, layers=names(p.layer))
    return answer


def _summed(weighted: Weighted, answer: Answer, subject: Subject, p: Cam) -> Tensor:
    """Return maps [T, 1, H, W] of the layers that were read."""
    maps = [
        weighted(answer.activations[layer], answer.gradients[layer][:, 0]).sum(1, keepdim=True).relu()
        for layer in names(p.layer)
    ]
    return fused(maps, subject.x)


def fused(maps: Sequence[Tensor], like: Tensor) -> Tensor:
    """Return the layers' maps [T, 1, h, w] as one, upsampled to the input's height and width: their maximum.

    One layer's map keeps its values. Those of several are first divided by their own maxima: activations and gradients
    of different depths differ in size by magnitudes, and the largest layer would hide all others.
    """
    large = [upsampled(one, like) for one in maps]
    if len(large) == 1:
        return large[0]
    peaks = [one.amax((2, 3), keepdim=True) for one in large]
    scaled = [one / torch.where(peak > 0, peak, 1) for one, peak in zip(large, peaks, strict=True)]
    return torch.stack(scaled).amax(0)


def upsampled(maps: Tensor, like: Tensor) -> Tensor:
    """Return maps [T, 1, h, w] scaled bilinearly to the input's height and width."""
    return F.interpolate(maps, size=like.shape[2:], mode="bilinear", align_corners=False)


def _twice(p: Cam, spec: InputSpec) -> Cost:
    """Return the clean picture forward and backward, once to the layer and once to the input."""
    return Cost(2, 2)


def _weighing(weighted: Weighted, paper: str) -> Method:
    """Return the method that weights channels so."""
    return Method(partial(of_gradients, weighted), Cam, paper, LAYER)


_GUIDED = (*LAYER, Need.RECTIFIERS)
CAMS: Mapping[str, Method] = MappingProxyType(
    {
        "grad_cam": _weighing(grad_cam, "Selvaraju et al. 2017, arXiv:1610.02391"),
        "grad_cam_plus_plus": _weighing(grad_cam_plus_plus, "Chattopadhay et al. 2018, arXiv:1710.11063"),
        "hires_cam": _weighing(hires_cam, "Draelos and Carin 2020, arXiv:2011.08891"),
        "layer_cam": _weighing(layer_cam, "Jiang et al. 2021, doi:10.1109/TIP.2021.3089943"),
        "xgrad_cam": _weighing(xgrad_cam, "Fu et al. 2020, arXiv:2008.02312"),
        "eigen_cam": Method(
            eigen_cam, Cam, "Muhammad and Yeasin 2020, arXiv:2008.00299", LAYER, forward_alone, class_blind=True
        ),
        "guided_grad_cam": Method(
            guided_grad_cam, Cam, "Selvaraju et al. 2017, arXiv:1610.02391", _GUIDED, _twice, local=True
        ),
    }
)
