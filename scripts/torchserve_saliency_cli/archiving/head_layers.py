"""The layers of a head that replaced the original one, from the names and shapes of its weights."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from torchserve_saliency.errors import ModelError
from torchserve_saliency.model.changes import ACTIVATIONS, Change

OWN_FILE = "archive the network by --model-file, a Python file that builds it as it was trained"
COUNTER = "num_batches_tracked"
_POSITIVE = ("relu", "relu6", "sigmoid")  # activations without negative outputs
Weights = Mapping[str, Mapping[str, Tensor]]


def head_layers(path: str, old: nn.Module, weights: Weights, activation: str | None) -> Change:
    """Return the layers of the head at `path` by their names, with `activation` between its linear layers.

    `old` is the head that it replaces, `weights` are those of each layer by its name. Raise ModelError if the layers
    cannot be told from their weights.
    """
    if not weights:
        raise ModelError(f"the file has no weights for the head '{path}', only for the layers before it: {OWN_FILE}")
    shapes = ", ".join(_shape(path, name, tensors) for name, tensors in weights.items())
    outer, weights = _unnested(weights)
    kinds = {name: kind for name, tensors in weights.items() if (kind := _kind(tensors))}
    linear = [name for name, kind in kinds.items() if "linear" in kind]
    sizes = [weights[name]["weight"].shape for name in linear]
    in_order = all(before[0] == after[1] for before, after in itertools.pairwise(sizes))
    if not linear or not in_order or len(kinds) < len(weights) or any("." in name for name in kinds):
        raise ModelError(f"the head '{path}' of the weights is no sequence of linear layers ({shapes}): {OWN_FILE}")
    features = next((m.in_features for m in old.modules() if isinstance(m, nn.Linear)), None)
    if features != sizes[0][1]:
        raise ModelError(
            f"the head '{path}' of the weights ({shapes}) takes {sizes[0][1]} features, and the network gives it "
            f"{features}: {OWN_FILE}"
        )
    places = _activation_places(weights, linear, activation, f"the head '{path}' of the weights ({shapes})")
    flat = [{"flatten": "flatten"}] if _flattens(old) and (outer or next(iter(kinds)) not in ("", "0")) else []
    layers: list[Change] = []
    for name, kind in kinds.items():
        layers.append({name: kind})
        layers += [{f"{name}_{activation}": activation}] if name in places else []
    for name in reversed(outer):
        layers = [{name: {"layers": layers}}]
    return {"layers": [*flat, *layers]}


def _unnested(weights: Weights) -> tuple[list[str], Weights]:
    """Return the names of the modules that only hold the next one, and the layers by their names in the innermost."""
    outer = []
    while len({name.split(".")[0] for name in weights}) == 1 and all("." in name for name in weights):
        outer.append(next(iter(weights)).split(".")[0])
        weights = {name.partition(".")[2]: tensors for name, tensors in weights.items()}
    return outer, dict(sorted(weights.items(), key=lambda item: int(item[0]) if item[0].isdigit() else -1))


def _activation_places(weights: Weights, linear: Sequence[str], activation: str | None, head: str) -> list[str]:
    """Return the names of the layers that the activation follows: one between two linear layers, unless they touch."""
    names, places = list(weights), []
    for first, last in itertools.pairwise(linear):
        part = names[names.index(first) : names.index(last) + 1]
        gaps = [a for a, b in itertools.pairwise(part) if not (a.isdigit() and b.isdigit() and int(b) - int(a) == 1)]
        if gaps and activation is None:
            raise ModelError(
                f"{head} has several layers, and the file does not say which activation is between them: name it by "
                f"--head-activation ({', '.join(ACTIVATIONS)}, none), or {OWN_FILE}"
            )
        if len(gaps) > 1 and activation != "none":
            gaps = [_before_norm(weights, part, activation, head)]
        places += gaps if activation != "none" else []
    return places


def _before_norm(weights: Weights, part: Sequence[str], activation: str | None, head: str) -> str:
    """Return the linear layer or the batch norm in a part that the activation follows.

    The inputs of a batch norm that comes after the activation have no negative mean.
    """
    if len(part) == 3 and activation in _POSITIVE and "running_mean" in weights[part[1]]:
        return part[0] if bool((weights[part[1]]["running_mean"] >= 0).all()) else part[1]
    raise ModelError(
        f"{head} has other layers between the linear ones, and the file does not say on which side of them the "
        f"activation is: {OWN_FILE}"
    )


def _kind(tensors: Mapping[str, Tensor]) -> Change | None:
    """Return the layer that has these weights, or None if it is unknown."""
    weight, others = tensors.get("weight"), tensors.keys() - {"weight", "bias", COUNTER}
    if weight is None or weight.dim() > 2:
        return None
    if weight.dim() == 2:
        outputs, inputs = weight.shape
        return None if others else {"linear": [inputs, outputs, *([] if "bias" in tensors else [False])]}
    if others == {"running_mean", "running_var"}:
        return {"batch_norm": [len(weight)]}
    return {"layer_norm": [len(weight)]} if not others and "bias" in tensors else None


def _flattens(head: nn.Module) -> bool:
    return any(isinstance(module, nn.Flatten) for module in head.modules())


def _shape(path: str, layer: str, tensors: Mapping[str, Tensor]) -> str:
    name = f"{path}.{layer}".rstrip(".")
    return f"{name} {list(tensors['weight'].shape)}" if "weight" in tensors else name
