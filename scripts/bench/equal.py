"""Equal work for our engine and the libraries on every method: parameters, libraries, and where the work differs."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from saliency.image import InputSpec
from scripts.bench.attributions import CAPTUMS
from scripts.bench.cams import GRAD_CAMS
from scripts.bench.rivals import RIVALS, Rival, Settings

WINDOWS = 4  # side by side on the shorter side of an input, none over another: 16 on a square
_GRID: Settings = MappingProxyType({"segments": 16, "superpixels": "grid"})
_SAMPLES: Settings = MappingProxyType({"samples": 16})
_STEPS: Settings = MappingProxyType({"steps": 16})
_FEWER: Settings = MappingProxyType({"steps": 8})
_NINE: Settings = MappingProxyType({"samples": 16, "segments": 9, "superpixels": "grid"})
_CHANNELS: Settings = MappingProxyType({"channels": 16})
# fewer passes than the defaults take: what a pass costs is asked, and many cost so much more of the same
SETTINGS: Mapping[str, Settings] = MappingProxyType(
    {
        "smooth_grad": _SAMPLES,
        "smooth_grad_squared": _SAMPLES,
        "var_grad": _SAMPLES,
        "integrated_gradients": _STEPS,
        "gradient_shap": _SAMPLES,
        "blur_integrated_gradients": _STEPS,
        "guided_integrated_gradients": _FEWER,
        "score_cam": _CHANNELS,
        "ablation_cam": _CHANNELS,
        "rise": _SAMPLES,
        "feature_ablation": _GRID,
        "lime": _NINE,
        "kernel_shap": _NINE,
        "shapley_value_sampling": MappingProxyType({"samples": 1, **_GRID}),
        "xrai": _FEWER,
    }
)
DIFFERS: Mapping[str, str] = MappingProxyType(
    {
        "smooth_grad": "other noise",
        "smooth_grad_squared": "other noise",
        "var_grad": "other noise",
        "gradient_shap": "other points; Captum runs all rows at once",
        "score_cam": "the library upsamples with aligned corners",
        "ablation_cam": "the library keeps the layer's input and runs the rest of the network alone",
        "eigen_cam": "the sign of the library's component is arbitrary",
        "lime": "other samples; Captum takes pictures one by one",
        "kernel_shap": "other samples, two of them the ends that ours takes besides; Captum takes pictures one by one",
        "shapley_value_sampling": "other orders; Captum runs the whole picture again for each",
    }
)


def rivals(method: str) -> tuple[Rival, ...]:
    """Return the libraries' answers to a method, one a library."""
    tables = (CAPTUMS, GRAD_CAMS)
    found = {rival.package: rival for rival in RIVALS.get(method, ())}
    found |= {table[method].package: table[method] for table in tables if method in table}
    return tuple(found.values())


def settings(method: str, spec: InputSpec) -> Settings:
    """Return the parameters of a method on inputs like `spec`."""
    if method == "occlusion":
        window = min(spec.size) // WINDOWS
        return {"window": window, "stride": window}
    return SETTINGS.get(method, {})
