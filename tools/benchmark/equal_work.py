"""Equal work for the engine and the libraries: parameters, library methods, and the remaining differences."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tools.benchmark.captum_methods import CAPTUM_METHODS
from tools.benchmark.grad_cam_methods import GRAD_CAM_METHODS
from tools.benchmark.reference_implementations import LIBRARY_METHODS, LibraryMethod, Settings
from torchserve_saliency.images.preprocessing import InputSpec

WINDOWS = 4  # occlusion windows along the shorter side of an input; they do not overlap
_GRID: Settings = MappingProxyType({"segments": 16, "superpixels": "grid"})
_SAMPLES: Settings = MappingProxyType({"samples": 16})
_STEPS: Settings = MappingProxyType({"steps": 16})
_FEW_STEPS: Settings = MappingProxyType({"steps": 8})
_NINE_CELLS: Settings = MappingProxyType({"samples": 16, "segments": 9, "superpixels": "grid"})
_CHANNELS: Settings = MappingProxyType({"channels": 16})
# fewer passes than by default: a benchmark measures the cost of a pass, and more passes only take more time
SETTINGS: Mapping[str, Settings] = MappingProxyType(
    {
        "smooth_grad": _SAMPLES,
        "smooth_grad_squared": _SAMPLES,
        "var_grad": _SAMPLES,
        "integrated_gradients": _STEPS,
        "gradient_shap": _SAMPLES,
        "blur_integrated_gradients": _STEPS,
        "guided_integrated_gradients": _FEW_STEPS,
        "score_cam": _CHANNELS,
        "ablation_cam": _CHANNELS,
        "rise": _SAMPLES,
        "feature_ablation": _GRID,
        "lime": _NINE_CELLS,
        "kernel_shap": _NINE_CELLS,
        "shapley_value_sampling": MappingProxyType({"samples": 1, **_GRID}),
        "xrai": _FEW_STEPS,
    }
)
DIFFERENCES: Mapping[str, str] = MappingProxyType(
    {
        "smooth_grad": "different noise",
        "smooth_grad_squared": "different noise",
        "var_grad": "different noise",
        "gradient_shap": "different points; Captum runs all rows at once",
        "score_cam": "the library upsamples with aligned corners",
        "ablation_cam": "the library caches the layer's input and runs only the rest of the network",
        "eigen_cam": "the sign of the library's component is arbitrary",
        "lime": "different samples; Captum explains one picture at a time",
        "kernel_shap": "different samples, and the engine adds two; Captum explains one picture at a time",
        "shapley_value_sampling": "different permutations; Captum evaluates the whole picture again for each",
    }
)


def library_methods(method: str) -> tuple[LibraryMethod, ...]:
    """Return the implementations of a method, one per library."""
    tables = (CAPTUM_METHODS, GRAD_CAM_METHODS)
    by_package = {library.package: library for library in LIBRARY_METHODS.get(method, ())}
    by_package |= {table[method].package: table[method] for table in tables if method in table}
    return tuple(by_package.values())


def settings(method: str, spec: InputSpec) -> Settings:
    """Return the parameters of a method for inputs of the given specification."""
    if method == "occlusion":
        window = min(spec.size) // WINDOWS
        return {"window": window, "stride": window}
    return SETTINGS.get(method, {})
