"""The methods, by the names that requests use: a table a family, and all of them together."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from saliency.methods.attention import ATTENTION
from saliency.methods.base import Method
from saliency.methods.cams import CAMS
from saliency.methods.gradients import GRADIENTS
from saliency.methods.paths import PATHS

METHODS: Mapping[str, Method] = MappingProxyType({**GRADIENTS, **PATHS, **CAMS, **ATTENTION})
