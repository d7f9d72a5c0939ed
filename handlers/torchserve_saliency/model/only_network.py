"""The network among several that a user's Python file makes, if only one of them can be meant."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from torchserve_saliency.errors import ModelError


def only_network(networks: Mapping[str, nn.Module], path: Path) -> tuple[str, nn.Module]:
    """Return the only network that is no part of another one, no base class, and not private or without parameters.

    Raise ModelError if several are left; `path` is the file that makes them.
    """
    kept = dict(networks)
    for condition in (_has_parameters, _is_no_part, _is_no_base, _is_public):
        kept = {name: n for name, n in kept.items() if condition(name, kept)} or kept
    if len(kept) == 1:
        return next(iter(kept.items()))
    raise ModelError(
        f"'{path.name}' must define exactly one class that takes no arguments, not {len(kept)}: {', '.join(kept)}; "
        "--class NAME says which of them is the network"
    )


def _has_parameters(name: str, networks: Mapping[str, nn.Module]) -> bool:
    return bool(networks[name].state_dict())


def _is_no_part(name: str, networks: Mapping[str, nn.Module]) -> bool:
    kind = type(networks[name])
    others = [network for other, network in networks.items() if other != name and type(network) is not kind]
    return not any(type(part) is kind for network in others for part in network.modules())


def _is_no_base(name: str, networks: Mapping[str, nn.Module]) -> bool:
    kind = type(networks[name])
    return not any(isinstance(network, kind) and type(network) is not kind for network in networks.values())


def _is_public(name: str, networks: Mapping[str, nn.Module]) -> bool:
    return not name.startswith("_")
