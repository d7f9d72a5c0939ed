"""The same maps by Captum and by pytorch-grad-cam, called directly: predictions and maps on both sides."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STEPS, SAMPLES = 50, 25
Settings = Mapping[str, object]
Attribution = Callable[["Subject", Tensor], Tensor]


@dataclass(frozen=True)
class Subject:
    """A network, a batch [n, C, H, W], the layer of a CAM, how many rows may be run at a time; the method's parameters.

    Parameters are those that our engine is sent.
    """

    network: nn.Module
    x: Tensor
    layer: str
    rows: int
    settings: Settings = field(default_factory=lambda: MappingProxyType({}))

    @property
    def at_once(self) -> int:
        """Return how many copies of the whole batch may be run at a time."""
        return max(1, self.rows // len(self.x))

    def count(self, name: str) -> int:
        """Return a parameter that counts something."""
        return int(str(self.settings[name]))


@dataclass(frozen=True)
class Rival:
    """A library's answer to a method.

    `predicts` where the library finds the predicted class itself, `scales` where its maps are scaled to 0-1,
    `stochastic` where noise of its own keeps its maps from being ours.
    """

    package: str
    attribute: Attribution
    predicts: bool = False
    scales: bool = False
    stochastic: bool = False

    def explain(self, subject: Subject) -> Tensor:
        """Return the maps of the predicted classes, predicted by a forward pass first unless the library does it."""
        target = torch.empty(0) if self.predicts else predicted(subject)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self.attribute(subject, target).detach().cpu()


def has_grid(subject: Subject) -> bool:
    """Tell whether the CAM's layer puts out [n, C, h, w], as the libraries take it, and no row of tokens."""
    shapes: list[torch.Size] = []
    layer = subject.network.get_submodule(subject.layer)
    hook = layer.register_forward_hook(lambda module, args, output: shapes.append(output.shape))
    try:
        predicted(subject)
    finally:
        hook.remove()
    return len(shapes[-1]) == 4


def predicted(subject: Subject) -> Tensor:
    """Return the class of each row, by a forward pass without autograd."""
    with torch.no_grad():
        best: Tensor = subject.network(subject.x).argmax(1)
    return best


def _gradient(subject: Subject, target: Tensor) -> Tensor:
    from captum.attr import Saliency

    maps: Tensor = Saliency(subject.network).attribute(subject.x.clone(), target=target, abs=False)
    return maps


def _integrated_gradients(subject: Subject, target: Tensor) -> Tensor:
    from captum.attr import IntegratedGradients

    rows = max(subject.rows, len(subject.x))  # fewer are refused
    maps: Tensor = IntegratedGradients(subject.network).attribute(
        subject.x.clone(), target=target, n_steps=subject.count("steps"), internal_batch_size=rows
    )
    return maps


def _smooth_grad(subject: Subject, target: Tensor) -> Tensor:
    from captum.attr import NoiseTunnel, Saliency

    maps: Tensor = NoiseTunnel(Saliency(subject.network)).attribute(
        subject.x.clone(),
        target=target,
        nt_samples=subject.count("samples"),
        nt_samples_batch_size=subject.at_once,
        abs=False,
    )
    return maps


def _grad_cam(subject: Subject, target: Tensor) -> Tensor:
    from captum.attr import LayerGradCam

    cam = LayerGradCam(subject.network, subject.network.get_submodule(subject.layer))
    maps: Tensor = cam.attribute(subject.x.clone(), target=target, relu_attributions=True)
    return maps if maps.dim() != 4 else F.interpolate(maps, size=subject.x.shape[2:], mode="bilinear")


def _pytorch_grad_cam(subject: Subject, target: Tensor) -> Tensor:
    """Return its maps, scaled to 0-1 each; the graph begins at the input, as the parameters are frozen."""
    from pytorch_grad_cam import GradCAM

    layer = subject.network.get_submodule(subject.layer)
    with GradCAM(subject.network, [layer]) as cam:
        return torch.from_numpy(cam(subject.x.detach().requires_grad_(), targets=None))


CAPTUM, GRAD_CAM = "Captum", "pytorch-grad-cam"
MODULES: Mapping[str, str] = MappingProxyType({CAPTUM: "captum", GRAD_CAM: "pytorch_grad_cam"})
RIVALS: Mapping[str, tuple[Rival, ...]] = MappingProxyType(
    {
        "gradient": (Rival(CAPTUM, _gradient),),
        "integrated_gradients": (Rival(CAPTUM, _integrated_gradients),),
        "smooth_grad": (Rival(CAPTUM, _smooth_grad, stochastic=True),),
        "grad_cam": (
            Rival(CAPTUM, _grad_cam),
            Rival(GRAD_CAM, _pytorch_grad_cam, predicts=True, scales=True),
        ),
    }
)
PARAMETERS: Mapping[str, Settings] = MappingProxyType(
    {
        "gradient": {},
        "integrated_gradients": {"steps": STEPS},
        "smooth_grad": {"samples": SAMPLES},
        "grad_cam": {},
    }
)
SINGLE = ("gradient", "grad_cam")  # methods of one forward and one backward pass


def scaled(maps: Tensor) -> Tensor:
    """Return maps [n, …] scaled to 0-1 each, to be compared with a library's that does so."""
    for _ in range(2):  # as it does: once before and once after it resizes them
        flat = maps.flatten(1)
        flat = flat - flat.amin(1, keepdim=True)
        maps = (flat / (1e-7 + flat.amax(1, keepdim=True))).view_as(maps)
    return maps
