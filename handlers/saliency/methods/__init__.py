"""The methods, by the names that requests use: a table a family, and all of them together."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from saliency.methods.ablation import ABLATION
from saliency.methods.base import Method
from saliency.methods.cams import CAMS
from saliency.methods.gradients import GRADIENTS
from saliency.methods.occlusion import OCCLUSION
from saliency.methods.paths import PATHS
from saliency.methods.rise import RISE
from saliency.methods.shapley import SHAPLEY
from saliency.methods.surrogates import SURROGATES
from saliency.methods.xrai import XRAI

METHODS: Mapping[str, Method] = MappingProxyType(
    {
        **GRADIENTS,
        **PATHS,
        **CAMS,
        **OCCLUSION,
        **RISE,
        **ABLATION,
        **SURROGATES,
        **SHAPLEY,
        **XRAI,
    }
)
