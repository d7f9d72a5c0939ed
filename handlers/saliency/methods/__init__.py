"""The methods, by the names that requests use: a table a family, and all of them together."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from saliency.methods.ablation import ABLATION
from saliency.methods.attention import ATTENTION
from saliency.methods.base import Method
from saliency.methods.blurred import BLURRED
from saliency.methods.cams import CAMS
from saliency.methods.decomposition import DECOMPOSITIONS
from saliency.methods.gradient_shap import GRADIENT_SHAP
from saliency.methods.gradients import GRADIENTS
from saliency.methods.guided_path import GUIDED_PATH
from saliency.methods.inside import INSIDE
from saliency.methods.masked_cams import MASKED_CAMS
from saliency.methods.maximization import MAXIMIZATION
from saliency.methods.noise import NOISE
from saliency.methods.occlusion import OCCLUSION
from saliency.methods.paths import PATHS
from saliency.methods.rise import RISE
from saliency.methods.shapley import SHAPLEY
from saliency.methods.surrogates import SURROGATES
from saliency.methods.xrai import XRAI

METHODS: Mapping[str, Method] = MappingProxyType(
    {
        **GRADIENTS,
        **NOISE,
        **PATHS,
        **GRADIENT_SHAP,
        **BLURRED,
        **GUIDED_PATH,
        **DECOMPOSITIONS,
        **CAMS,
        **MASKED_CAMS,
        **OCCLUSION,
        **RISE,
        **ABLATION,
        **SURROGATES,
        **SHAPLEY,
        **XRAI,
        **ATTENTION,
        **INSIDE,
        **MAXIMIZATION,
    }
)
