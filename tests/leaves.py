"""The networks that tell the diseases of drawn leaves, and the arguments of their archives.

The embedded network was trained with the binary cross entropy of each class, on leaves with one disease and with two.
So it is a multi-label network, and each of its outputs can be used alone.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import torch

from torchserve_saliency_cli.leaves import network as leaf_network
from torchserve_saliency_cli.leaves.draw import CLASSES, DISEASES
from torchserve_saliency_cli.leaves.network import LeafNet
from torchserve_saliency_cli.leaves.trained import trained_network


@functools.cache
def diseases_network() -> LeafNet:
    """Return the network with a logit for each disease."""
    return _outputs(DISEASES)


@functools.cache
def scab_network() -> LeafNet:
    """Return the network whose single logit is that of scab."""
    return _outputs(["scab"])


def _outputs(classes: Sequence[str]) -> LeafNet:
    """Return the embedded network with the outputs of these classes only."""
    rows = [CLASSES.index(name) for name in classes]
    state = trained_network().state_dict()
    network = LeafNet(len(rows))
    network.load_state_dict(state | {name: state[name][rows] for name in ("evidence.weight", "evidence.bias")})
    return network.eval().requires_grad_(False)


def leaf_archives(folder: Path) -> dict[str, Sequence[str]]:
    """Return the archive arguments of both networks by model name and version; their files are in a folder."""
    diseases = _arguments(folder, "diseases", diseases_network(), DISEASES)
    return {
        "diseases 1.0": (*diseases, "--activation", "sigmoid"),
        "scab 1.0": _arguments(folder, "scab", scab_network(), ["scab"]),
    }


def _arguments(folder: Path, name: str, network: LeafNet, labels: Sequence[str]) -> Sequence[str]:
    """Return the archive arguments of a network, after writing its weights and labels to a folder."""
    weights, names = folder / f"{name}.pt", folder / f"{name}.txt"
    torch.save(network.state_dict(), weights)
    names.write_text("".join(f"{label}\n" for label in labels))
    constructor = f'{{"outputs": {len(labels)}}}'
    return (
        *("--model-file", leaf_network.__file__, "--serialized-file", str(weights), "--arguments", constructor),
        *("--labels", str(names), "--input-size", "224", "--resize", "224"),
        *("--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5", "--sanity", "off"),
    )
