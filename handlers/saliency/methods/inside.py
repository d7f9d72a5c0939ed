"""Looking inside a network: what its units answer to a picture, whatever the class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from saliency.methods.base import Maps, Method, Need, Shows, Steps, Subject, forward_alone
from saliency.methods.layers import LayerNames, channels_option, strongest
from saliency.rows import Rows
from saliency.schema import option


@dataclass(frozen=True)
class FeatureMaps:
    """The layer that is looked at, and how many of its channels."""

    layer: str | None = option(None, LayerNames(1), "layer that is looked at")
    channels: int = channels_option(16, "channels of the layer that are shown, the strongest first")


def feature_maps(subject: Subject, p: FeatureMaps) -> Steps:
    """A layer's channels [1, K, h, w] of the largest mean absolute activation, as they are (Zeiler and Fergus 2013).

    The finding `units` holds the channels' numbers in the layer.
    """
    layer = str(p.layer)
    answer = yield Rows(subject.x, subject.objective, gradient=False, layers=(layer,))
    grid = answer.activations[layer]
    units = strongest(grid, p.channels)
    return Maps(grid[:, units], ({"units": units.tolist()},))


INSIDE: Mapping[str, Method] = MappingProxyType(
    {
        "feature_maps": Method(
            feature_maps,
            FeatureMaps,
            "Zeiler and Fergus 2013, arXiv:1311.2901",
            (Need.HOOKS, Need.LAYER),
            forward_alone,
            shows=Shows.CHANNELS,
            class_blind=True,
        ),
    }
)
