"""Captum's implementations of methods, with the engine's parameters and number of rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

import torch
from torch import Tensor

from tools.benchmark.reference_implementations import CAPTUM, LibraryInput, LibraryMethod
from torchserve_saliency.images.superpixels import segments

NOISE = 0.15  # the engine's default, relative to the range of the input


def _simple(name: str, given: LibraryInput, target: Tensor) -> Tensor:
    """Return the maps of a Captum class without parameters."""
    from captum import attr

    maps: Tensor = getattr(attr, name)(given.network).attribute(given.x.clone(), target=target)
    return maps


def _noise_tunnel(kind: str, given: LibraryInput, target: Tensor) -> Tensor:
    """Return the maps of a noise tunnel over gradients. All pictures are equal, so the first one sets the noise."""
    from captum.attr import NoiseTunnel, Saliency

    first = given.x[0]
    maps: Tensor = NoiseTunnel(Saliency(given.network)).attribute(
        given.x.clone(),
        nt_type=kind,
        nt_samples=given.count("samples"),
        nt_samples_batch_size=given.copies_at_once,
        stdevs=float(NOISE * (first.max() - first.min())),
        target=target,
        abs=False,
    )
    return maps


def _gradient_shap(given: LibraryInput, target: Tensor) -> Tensor:
    from captum.attr import GradientShap

    maps: Tensor = GradientShap(given.network).attribute(
        given.x.clone(), torch.zeros_like(given.x[:1]), n_samples=given.count("samples"), target=target
    )
    return maps


def _guided_grad_cam(given: LibraryInput, target: Tensor) -> Tensor:
    from captum.attr import GuidedGradCam

    cam = GuidedGradCam(given.network, given.network.get_submodule(given.layer))
    maps: Tensor = cam.attribute(given.x.clone(), target=target, interpolate_mode="bilinear")
    return maps


def _occlusion(given: LibraryInput, target: Tensor) -> Tensor:
    from captum.attr import Occlusion

    channels, window, stride = given.x.shape[1], given.count("window"), given.count("stride")
    maps: Tensor = Occlusion(given.network).attribute(
        given.x,
        sliding_window_shapes=(channels, window, window),
        strides=(channels, stride, stride),
        target=target,
        perturbations_per_eval=given.copies_at_once,
    )
    return maps


def _masked(name: str, samples: bool, given: LibraryInput, target: Tensor) -> Tensor:
    """Return the maps of a Captum class that masks the cells of a grid."""
    from captum import attr

    counts = {"n_samples": given.count("samples")} if samples else {}
    maps: Tensor = getattr(attr, name)(given.network).attribute(
        given.x, target=target, feature_mask=_cells(given), perturbations_per_eval=given.copies_at_once, **counts
    )
    return maps


def _surrogate(make: Callable[[LibraryInput], Callable[..., Tensor]], given: LibraryInput, target: Tensor) -> Tensor:
    """Return the maps of linear surrogate models. Captum fits one picture at a time, in batches of masked copies."""
    attribute = make(given)
    maps = [
        attribute(
            one[None],
            target=index,
            feature_mask=_cells(given),
            n_samples=given.count("samples"),
            perturbations_per_eval=given.rows,
        )
        for one, index in zip(given.x, target, strict=True)
    ]
    return torch.cat(maps)


def _lime(given: LibraryInput) -> Callable[..., Tensor]:
    """Return Captum's Lime with the engine's kernel and regression. Weights depend on the share of visible cells."""
    from captum._utils.models.linear_model import SkLearnRidge
    from captum.attr import Lime

    def similarity(original: Tensor, perturbed: Tensor, visible: Tensor, **_: object) -> float:
        distance = 1 - float(visible.float().mean()) ** 0.5
        return float(torch.exp(torch.tensor(-(distance**2) / (2 * 0.25**2))))

    attribute: Callable[..., Tensor] = Lime(given.network, SkLearnRidge(alpha=1.0), similarity).attribute
    return attribute


def _kernel_shap(given: LibraryInput) -> Callable[..., Tensor]:
    from captum.attr import KernelShap

    attribute: Callable[..., Tensor] = KernelShap(given.network).attribute
    return attribute


def _cells(given: LibraryInput) -> Tensor:
    """Return the cell index of each pixel [1, 1, H, W], as in the engine's grid."""
    height, width = given.x.shape[2:]
    grid = segments(torch.zeros(3, height, width), given.count("segments"), "grid")
    return grid[None, None].to(given.x.device)


CAPTUM_METHODS: Mapping[str, LibraryMethod] = MappingProxyType(
    {
        "gradient_x_input": LibraryMethod(CAPTUM, partial(_simple, "InputXGradient")),
        "guided_backprop": LibraryMethod(CAPTUM, partial(_simple, "GuidedBackprop")),
        "deconvolution": LibraryMethod(CAPTUM, partial(_simple, "Deconvolution")),
        "smooth_grad": LibraryMethod(CAPTUM, partial(_noise_tunnel, "smoothgrad"), stochastic=True),
        "smooth_grad_squared": LibraryMethod(CAPTUM, partial(_noise_tunnel, "smoothgrad_sq"), stochastic=True),
        "var_grad": LibraryMethod(CAPTUM, partial(_noise_tunnel, "vargrad"), stochastic=True),
        "gradient_shap": LibraryMethod(CAPTUM, _gradient_shap, stochastic=True),
        "deep_lift": LibraryMethod(CAPTUM, partial(_simple, "DeepLift")),
        "lrp": LibraryMethod(CAPTUM, partial(_simple, "LRP")),
        "guided_grad_cam": LibraryMethod(CAPTUM, _guided_grad_cam),
        "occlusion": LibraryMethod(CAPTUM, _occlusion),
        "feature_ablation": LibraryMethod(CAPTUM, partial(_masked, "FeatureAblation", False)),
        "lime": LibraryMethod(CAPTUM, partial(_surrogate, _lime), stochastic=True),
        "kernel_shap": LibraryMethod(CAPTUM, partial(_surrogate, _kernel_shap), stochastic=True),
        "shapley_value_sampling": LibraryMethod(
            CAPTUM, partial(_masked, "ShapleyValueSampling", True), stochastic=True
        ),
    }
)
