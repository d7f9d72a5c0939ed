"""Feature maps: the activations of a layer's channels, independent of the class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from torchserve_saliency.engine.rows import Rows
from torchserve_saliency.methods.activation.layer_options import LayerNames, channels_option, strongest_channels
from torchserve_saliency.methods.base import Maps, Method, Need, Shows, Steps, Subject, forward_only
from torchserve_saliency.schema import option


@dataclass(frozen=True)
class FeatureMaps:
    """The layer, and the number of its channels to return."""

    layer: str | None = option(None, LayerNames(1), "Layer of the channels")
    channels: int = channels_option(16, "Number of channels to show, strongest first")


def feature_maps(subject: Subject, p: FeatureMaps) -> Steps:
    """The K channels of a layer with the largest mean absolute activation, [1, K, h, w] (Zeiler and Fergus 2013).

    The finding `units` holds the indices of the channels in the layer.
    """
    layer = str(p.layer)
    answer = yield Rows(subject.x, subject.objective, gradient=False, layers=(layer,))
    grid = answer.activations[layer]
    units = strongest_channels(grid, p.channels)
    return Maps(grid[:, units], ({"units": units.tolist()},))


FEATURE_MAP_METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "feature_maps": Method(
            feature_maps,
            FeatureMaps,
            "Zeiler and Fergus 2013, arXiv:1311.2901",
            "The features that one layer finds in the picture, the same for every class",
            (Need.HOOKS, Need.LAYER),
            forward_only,
            shows=Shows.CHANNELS,
            class_specific=False,
        ),
    }
)
