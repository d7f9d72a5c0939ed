"""Predictions and maps by Captum and pytorch-grad-cam for the four main methods."""

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
Attribution = Callable[["LibraryInput", Tensor], Tensor]


@dataclass(frozen=True)
class LibraryInput:
    """The input of a library's method: a network, a batch [n, C, H, W], the layer for CAMs, and parameters.

    `rows` is the maximum number of rows in a pass. `settings` holds the parameters as the engine's options.
    """

    network: nn.Module
    x: Tensor
    layer: str
    rows: int
    settings: Settings = field(default_factory=lambda: MappingProxyType({}))

    @property
    def copies_at_once(self) -> int:
        """Return the number of copies of the whole batch that fit into `rows`."""
        return max(1, self.rows // len(self.x))

    def count(self, name: str) -> int:
        """Return an integer parameter."""
        return int(str(self.settings[name]))


@dataclass(frozen=True)
class LibraryMethod:
    """A library's implementation of a method.

    `predicts` is true if the library determines the predicted class itself, `scales` if it scales each map to the
    range 0-1, and `stochastic` if it draws its own random numbers, so that its maps differ from the engine's.
    """

    package: str
    attribute: Attribution
    predicts: bool = False
    scales: bool = False
    stochastic: bool = False

    def explain(self, given: LibraryInput) -> Tensor:
        """Return the maps of the predicted classes. A forward pass determines the classes if the library does not."""
        target = torch.empty(0) if self.predicts else predicted_classes(given)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self.attribute(given, target).detach().cpu()


def has_spatial_output(given: LibraryInput) -> bool:
    """Return whether the output of the CAM's layer is [n, C, h, w]; the libraries do not support tokens."""
    shapes: list[torch.Size] = []
    layer = given.network.get_submodule(given.layer)
    hook = layer.register_forward_hook(lambda module, args, output: shapes.append(output.shape))
    try:
        predicted_classes(given)
    finally:
        hook.remove()
    return len(shapes[-1]) == 4


def predicted_classes(given: LibraryInput) -> Tensor:
    """Return the predicted class of each row [n], by a forward pass without autograd."""
    with torch.no_grad():
        classes: Tensor = given.network(given.x).argmax(1)
    return classes


def _gradient(given: LibraryInput, target: Tensor) -> Tensor:
    from captum.attr import Saliency

    maps: Tensor = Saliency(given.network).attribute(given.x.clone(), target=target, abs=False)
    return maps


def _integrated_gradients(given: LibraryInput, target: Tensor) -> Tensor:
    from captum.attr import IntegratedGradients

    rows = max(given.rows, len(given.x))  # Captum raises an error for fewer rows
    maps: Tensor = IntegratedGradients(given.network).attribute(
        given.x.clone(), target=target, n_steps=given.count("steps"), internal_batch_size=rows
    )
    return maps


def _smooth_grad(given: LibraryInput, target: Tensor) -> Tensor:
    from captum.attr import NoiseTunnel, Saliency

    maps: Tensor = NoiseTunnel(Saliency(given.network)).attribute(
        given.x.clone(),
        target=target,
        nt_samples=given.count("samples"),
        nt_samples_batch_size=given.copies_at_once,
        abs=False,
    )
    return maps


def _grad_cam(given: LibraryInput, target: Tensor) -> Tensor:
    from captum.attr import LayerGradCam

    cam = LayerGradCam(given.network, given.network.get_submodule(given.layer))
    maps: Tensor = cam.attribute(given.x.clone(), target=target, relu_attributions=True)
    return maps if maps.dim() != 4 else F.interpolate(maps, size=given.x.shape[2:], mode="bilinear")


def _pytorch_grad_cam(given: LibraryInput, target: Tensor) -> Tensor:
    from pytorch_grad_cam import GradCAM

    layer = given.network.get_submodule(given.layer)
    with GradCAM(given.network, [layer]) as cam:
        # the parameters are frozen, so the autograd graph must start at the input
        return torch.from_numpy(cam(given.x.detach().requires_grad_(), targets=None))


CAPTUM, GRAD_CAM = "Captum", "pytorch-grad-cam"
MODULES: Mapping[str, str] = MappingProxyType({CAPTUM: "captum", GRAD_CAM: "pytorch_grad_cam"})
LIBRARY_METHODS: Mapping[str, tuple[LibraryMethod, ...]] = MappingProxyType(
    {
        "gradient": (LibraryMethod(CAPTUM, _gradient),),
        "integrated_gradients": (LibraryMethod(CAPTUM, _integrated_gradients),),
        "smooth_grad": (LibraryMethod(CAPTUM, _smooth_grad, stochastic=True),),
        "grad_cam": (
            LibraryMethod(CAPTUM, _grad_cam),
            LibraryMethod(GRAD_CAM, _pytorch_grad_cam, predicts=True, scales=True),
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


def min_max_scaled(maps: Tensor) -> Tensor:
    """Return maps [n, …], each scaled to the range 0-1, for comparison with pytorch-grad-cam."""
    for _ in range(2):  # the library scales before and after it resizes the maps
        flat = maps.flatten(1)
        flat = flat - flat.amin(1, keepdim=True)
        maps = (flat / (1e-7 + flat.amax(1, keepdim=True))).view_as(maps)
    return maps
