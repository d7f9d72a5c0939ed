"""Class activation maps from one forward pass: weighted sums of a layer's channels, most of them with gradients."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor

from torchserve_saliency.engine.rows import Answer, Rows
from torchserve_saliency.images.preprocessing import InputSpec
from torchserve_saliency.methods.activation.layer_options import layer_names, layer_option
from torchserve_saliency.methods.base import Cost, Maps, Method, Need, NoParameters, Steps, Subject, forward_only
from torchserve_saliency.methods.gradient.plain_gradients import guided_backprop

LAYER_NEEDS = (Need.HOOKS, Need.LAYER)
ChannelWeighting = Callable[[Tensor, Tensor], Tensor]
_CANCELLED = 1e-6  # if a channel's sum over its absolute sum is below this, the sum is only rounding error


@dataclass(frozen=True)
class Cam:
    """The layers of a class activation map; None is replaced by the network's default layer before the method runs."""

    layer: str | None = layer_option()


def weighted_cam(weighting: ChannelWeighting, subject: Subject, p: Cam) -> Steps:
    """Positive part of the sum of a layer's weighted channels, upsampled.

    The opposing maps are those of the negated gradients, with a minus sign: the regions that speak against the class
    (Selvaraju et al. 2017, "counterfactual explanations"). For Grad-CAM, HiResCAM and XGrad-CAM, this is the negative
    part of the same sum.

    `weighting` is one of the five functions below: it takes activations [1, C, h, w] and their gradients
    [T, C, h, w], and returns weighted activations [T, C, h, w].
    """
    answer = yield from _layer_answer(subject, p)
    return Maps(
        _weighted_map(weighting, answer, subject, p),
        layer_findings(answer, p.layer),
        opposing=lambda: -_weighted_map(weighting, answer, subject, p, sign=-1),
    )


def layer_findings(answer: Answer, layer: str | None) -> tuple[Mapping[str, object], ...]:
    """Return the finding `layer_grid` for each target: the height and width of the layer's grid.

    For several layers, it maps each name to its grid.
    """
    grids = {name: list(answer.activations[name].shape[2:]) for name in layer_names(layer)}
    grid = grids if len(grids) > 1 else next(iter(grids.values()))
    return ({"layer_grid": grid},) * len(answer.pairs[0])


def grad_cam(activation: Tensor, gradient: Tensor) -> Tensor:
    """Return channels weighted by their mean gradients (Selvaraju et al. 2017)."""
    return activation * gradient.mean((2, 3), keepdim=True)


def grad_cam_plus_plus(activation: Tensor, gradient: Tensor) -> Tensor:
    """Return channels weighted by the sum of alpha times the positive gradients (Chattopadhay et al. 2018).

    For a gradient g, alpha = g² / (2 g² + S g³), where S is the sum of the channel's activations. The paper assumes
    that S is not negative. A negative S is replaced by 0, because alpha has a pole there.
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

    If the activations of a channel sum to 0, this mean does not exist, and the weight is 0.
    """
    total = activation.sum((2, 3), keepdim=True)
    cancelled = total.abs() <= _CANCELLED * activation.abs().sum((2, 3), keepdim=True)
    shares = torch.where(cancelled, 0, activation / torch.where(cancelled, 1, total))
    return activation * (gradient * shares).sum((2, 3), keepdim=True)


def guided_grad_cam(subject: Subject, p: Cam) -> Steps:
    """Guided backpropagation times Grad-CAM, [T, C, H, W] (Selvaraju et al. 2017)."""
    answer = yield from _layer_answer(subject, p)
    fixed = replace(subject, objective=subject.objective.fixed(answer.pairs[0]))
    guided = yield from guided_backprop(fixed, NoParameters())
    return Maps(guided.values * _weighted_map(grad_cam, answer, subject, p), layer_findings(answer, p.layer))


def eigen_cam(subject: Subject, p: Cam) -> Steps:
    """Positive part of a layer's first principal component, upsampled (Muhammad and Yeasin 2020).

    The map is the same for every class.
    """
    answer = yield Rows(subject.x, subject.objective, gradient=False, layers=layer_names(p.layer))
    maps = [first_principal_component(answer.activations[layer]).relu() for layer in layer_names(p.layer)]
    findings = layer_findings(answer, p.layer)
    return Maps(fuse_layers(maps, subject.x).expand(len(answer.scores), -1, -1, -1), findings)


def first_principal_component(activation: Tensor) -> Tensor:
    """Return the projection [1, 1, h, w] of an activation [1, C, h, w] onto its first principal component.

    The sign of a principal component is arbitrary. It is chosen so that the projection correlates positively with the
    norms of the channel vectors.
    """
    vectors = activation[0].flatten(1).T
    left, sizes, _ = torch.linalg.svd(vectors - vectors.mean(0), full_matrices=False)
    component = left[:, 0] * sizes[0]
    rising = torch.dot(component, vectors.norm(dim=1)) >= 0
    return torch.where(rising, component, -component).view(1, 1, *activation.shape[2:])


def _layer_answer(subject: Subject, p: Cam) -> Generator[Rows, Answer, Answer]:
    """Return the answer for the clean picture, with the layers' activations and gradients."""
    answer = yield Rows(subject.x, subject.objective, layers=layer_names(p.layer))
    return answer


def _weighted_map(weighting: ChannelWeighting, answer: Answer, subject: Subject, p: Cam, sign: int = 1) -> Tensor:
    """Return the fused maps [T, 1, H, W] of the requested layers, from the gradients times `sign`."""
    maps = [
        weighting(answer.activations[layer], sign * answer.gradients[layer][:, 0]).sum(1, keepdim=True).relu()
        for layer in layer_names(p.layer)
    ]
    return fuse_layers(maps, subject.x)


def fuse_layers(maps: Sequence[Tensor], like: Tensor) -> Tensor:
    """Return the maximum over the layers' maps [T, 1, h, w], upsampled to the input's height and width.

    The map of a single layer keeps its values. Several maps are first divided by their own maxima, because values at
    different depths differ by orders of magnitude.
    """
    enlarged = [upsample(one, like) for one in maps]
    if len(enlarged) == 1:
        return enlarged[0]
    peaks = [one.amax((2, 3), keepdim=True) for one in enlarged]
    scaled = [one / torch.where(peak > 0, peak, 1) for one, peak in zip(enlarged, peaks, strict=True)]
    return torch.stack(scaled).amax(0)


def upsample(maps: Tensor, like: Tensor) -> Tensor:
    """Return maps [T, 1, h, w] interpolated bilinearly to the height and width of `like`."""
    return F.interpolate(maps, size=like.shape[2:], mode="bilinear", align_corners=False)


def _two_passes(p: Cam, spec: InputSpec) -> Cost:
    """Return the cost of two passes of the clean picture: one to the layer, and one to the input."""
    return Cost(2, 2)


def _cam_method(weighting: ChannelWeighting, paper: str, help: str) -> Method:
    """Return the method with this weighting of channels."""
    return Method(partial(weighted_cam, weighting), Cam, paper, help, LAYER_NEEDS)


_GUIDED = (*LAYER_NEEDS, Need.RECTIFIERS)
GRAD_CAM_METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "grad_cam": _cam_method(
            grad_cam,
            "Selvaraju et al. 2017, arXiv:1610.02391",
            "The regions that raise the score, seen coarsely by one layer",
        ),
        "grad_cam_plus_plus": _cam_method(
            grad_cam_plus_plus,
            "Chattopadhay et al. 2018, arXiv:1710.11063",
            "The regions that raise the score, also if the object is there several times",
        ),
        "hires_cam": _cam_method(
            hires_cam,
            "Draelos and Carin 2020, arXiv:2011.08891",
            "The regions that raise the score, each counted by its own effect",
        ),
        "layer_cam": _cam_method(
            layer_cam,
            "Jiang et al. 2021, doi:10.1109/TIP.2021.3089943",
            "The regions that raise the score, in more detail if an earlier layer is chosen",
        ),
        "xgrad_cam": _cam_method(
            xgrad_cam,
            "Fu et al. 2020, arXiv:2008.02312",
            "The regions that raise the score, counted most where the features are strong",
        ),
        "eigen_cam": Method(
            eigen_cam,
            Cam,
            "Muhammad and Yeasin 2020, arXiv:2008.00299",
            "The regions that stand out most to one layer, the same for every class",
            LAYER_NEEDS,
            forward_only,
            class_specific=False,
            signed=False,
        ),
        "guided_grad_cam": Method(
            guided_grad_cam,
            Cam,
            "Selvaraju et al. 2017, arXiv:1610.02391",
            "Fine details inside the regions that raise the score",
            _GUIDED,
            _two_passes,
            local=True,
        ),
    }
)
