"""A head that a checkpoint has beside its backbone, as in MMPretrain and in many modules of Lightning.

`{"backbone.conv1.weight": …, "head.fc.weight": …}` holds a ResNet whose layer `fc` is named `head.fc`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor, nn

from torchserve_saliency.model.state_match import Match
from torchserve_saliency.model.state_names import is_layer, without_wrappers
from torchserve_saliency.model.state_search import State

# layers beside a backbone that are no head of a classifier: for embeddings, and for other tasks of the training
_NO_HEAD = re.compile(r"proj|embed|aux|rotat|jigsaw|recon|decod|domain|neck|pool", re.IGNORECASE)


def with_separate_head(match: Match, mappings: Mapping[str, State], network: nn.Module) -> Match:
    """Return a match with the layers beside it in place of the network's last linear layer, if they are its head.

    They are if the match lacks that layer, they belong to one module, and the first of them takes its features.
    Otherwise the match is returned as it is.
    """
    path, linear = _last_linear(network)
    names = [name for name in match.left_over if name in match.foreign]
    if linear is None or not names or any(name.startswith(f"{path}.") for name in match.state):
        return match
    state = without_wrappers(mappings[match.key])
    module = _common_module(names)
    first = state[names[0]]
    if not module or _NO_HEAD.search(module) or first.dim() != 2 or first.shape[1] != linear.in_features:
        return match
    moved = [name for name in match.left_over if name.startswith(f"{module}.")]
    if len(names) == 1 and f"{module}.bias" not in moved:  # it may compare directions, or come after something else
        return match
    tensors: dict[str, Tensor] = {f"{path}{name[len(module) :]}": state[name] for name in moved}
    return replace(
        match,
        state={**match.state, **tensors},
        left_over=tuple(name for name in match.left_over if name not in moved),
        foreign=tuple(name for name in match.left_over if name not in moved and is_layer(name, state[name])),
        head=module,
    )


def _last_linear(network: nn.Module) -> tuple[str, nn.Linear | None]:
    """Return the path and the last layer of a network if it is linear, else None."""
    layers = [(path, m) for path, m in network.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    path, last = layers[-1] if layers else ("", None)
    return path, last if isinstance(last, nn.Linear) else None


def _common_module(names: list[str]) -> str:
    """Return the path of the smallest module that has all the weights; empty if there is none."""
    parts = [name.split(".")[:-1] for name in names]
    shared = next((n for n in range(min(map(len, parts)), 0, -1) if len({tuple(p[:n]) for p in parts}) == 1), 0)
    return ".".join(parts[0][:shared])
