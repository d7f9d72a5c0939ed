"""Captum's answers to the methods beyond the first four: the same parameters, as many rows at a time as the engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

import torch
from torch import Tensor

from saliency.superpixels import segments
from scripts.bench.rivals import CAPTUM, Rival, Subject

NOISE = 0.15  # the engine's default: of each input's range


def _simple(name: str, subject: Subject, target: Tensor) -> Tensor:
    """Return the maps of one of Captum's classes that takes no parameters."""
    from captum import attr

    maps: Tensor = getattr(attr, name)(subject.network).attribute(subject.x.clone(), target=target)
    return maps


def _noisy(kind: str, subject: Subject, target: Tensor) -> Tensor:
    """Return what a noise tunnel makes of gradients; the noise is that of the first picture, as all are alike."""
    from captum.attr import NoiseTunnel, Saliency

    first = subject.x[0]
    maps: Tensor = NoiseTunnel(Saliency(subject.network)).attribute(
        subject.x.clone(),
        nt_type=kind,
        nt_samples=subject.count("samples"),
        nt_samples_batch_size=subject.at_once,
        stdevs=float(NOISE * (first.max() - first.min())),
        target=target,
        abs=False,
    )
    return maps


def _gradient_shap(subject: Subject, target: Tensor) -> Tensor:
    from captum.attr import GradientShap

    maps: Tensor = GradientShap(subject.network).attribute(
        subject.x.clone(), torch.zeros_like(subject.x[:1]), n_samples=subject.count("samples"), target=target
    )
    return maps


def _guided_grad_cam(subject: Subject, target: Tensor) -> Tensor:
    from captum.attr import GuidedGradCam

    cam = GuidedGradCam(subject.network, subject.network.get_submodule(subject.layer))
    maps: Tensor = cam.attribute(subject.x.clone(), target=target, interpolate_mode="bilinear")
    return maps


def _occlusion(subject: Subject, target: Tensor) -> Tensor:
    from captum.attr import Occlusion

    channels, window, stride = subject.x.shape[1], subject.count("window"), subject.count("stride")
    maps: Tensor = Occlusion(subject.network).attribute(
        subject.x,
        sliding_window_shapes=(channels, window, window),
        strides=(channels, stride, stride),
        target=target,
        perturbations_per_eval=subject.at_once,
    )
    return maps


def _masked(name: str, samples: bool, subject: Subject, target: Tensor) -> Tensor:
    """Return the maps of one of Captum's classes that takes the cells of a grid away."""
    from captum import attr

    counts = {"n_samples": subject.count("samples")} if samples else {}
    maps: Tensor = getattr(attr, name)(subject.network).attribute(
        subject.x, target=target, feature_mask=_cells(subject), perturbations_per_eval=subject.at_once, **counts
    )
    return maps


def _surrogate(make: Callable[[Subject], Callable[..., Tensor]], subject: Subject, target: Tensor) -> Tensor:
    """Return the maps of linear models: Captum fits one picture after the other, in batches of its masked copies."""
    attribute = make(subject)
    found = [
        attribute(
            one[None],
            target=index,
            feature_mask=_cells(subject),
            n_samples=subject.count("samples"),
            perturbations_per_eval=subject.rows,
        )
        for one, index in zip(subject.x, target, strict=True)
    ]
    return torch.cat(found)


def _lime(subject: Subject) -> Callable[..., Tensor]:
    """Return Captum's Lime with our kernel and regression: a sample's weight is by the cells that it shows."""
    from captum._utils.models.linear_model import SkLearnRidge
    from captum.attr import Lime

    def similarity(original: Tensor, perturbed: Tensor, shown: Tensor, **_: object) -> float:
        apart = 1 - float(shown.float().mean()) ** 0.5
        return float(torch.exp(torch.tensor(-(apart**2) / (2 * 0.25**2))))

    attribute: Callable[..., Tensor] = Lime(subject.network, SkLearnRidge(alpha=1.0), similarity).attribute
    return attribute


def _kernel_shap(subject: Subject) -> Callable[..., Tensor]:
    from captum.attr import KernelShap

    attribute: Callable[..., Tensor] = KernelShap(subject.network).attribute
    return attribute


def _cells(subject: Subject) -> Tensor:
    """Return the engine's grid of cells, [1, 1, H, W]."""
    height, width = subject.x.shape[2:]
    grid = segments(torch.zeros(3, height, width), subject.count("segments"), "grid")
    return grid[None, None].to(subject.x.device)


CAPTUMS: Mapping[str, Rival] = MappingProxyType(
    {
        "gradient_x_input": Rival(CAPTUM, partial(_simple, "InputXGradient")),
        "guided_backprop": Rival(CAPTUM, partial(_simple, "GuidedBackprop")),
        "deconvolution": Rival(CAPTUM, partial(_simple, "Deconvolution")),
        "smooth_grad": Rival(CAPTUM, partial(_noisy, "smoothgrad"), stochastic=True),
        "smooth_grad_squared": Rival(CAPTUM, partial(_noisy, "smoothgrad_sq"), stochastic=True),
        "var_grad": Rival(CAPTUM, partial(_noisy, "vargrad"), stochastic=True),
        "gradient_shap": Rival(CAPTUM, _gradient_shap, stochastic=True),
        "deep_lift": Rival(CAPTUM, partial(_simple, "DeepLift")),
        "lrp": Rival(CAPTUM, partial(_simple, "LRP")),
        "guided_grad_cam": Rival(CAPTUM, _guided_grad_cam),
        "occlusion": Rival(CAPTUM, _occlusion),
        "feature_ablation": Rival(CAPTUM, partial(_masked, "FeatureAblation", False)),
        "lime": Rival(CAPTUM, partial(_surrogate, _lime), stochastic=True),
        "kernel_shap": Rival(CAPTUM, partial(_surrogate, _kernel_shap), stochastic=True),
        "shapley_value_sampling": Rival(CAPTUM, partial(_masked, "ShapleyValueSampling", True), stochastic=True),
    }
)
