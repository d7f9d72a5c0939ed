"""Notes on a map: why it is empty, and how coarse the layer is that it was made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchserve_saliency.methods import METHODS
from torchserve_saliency.methods.base import Maps
from torchserve_saliency.requests.query import Query

FINE_GRID = 7  # cells along each side; class activation maps of coarser layers get a note
Grid = tuple[int, int]


@dataclass(frozen=True)
class MapContext:
    """How a map was made: its parameters and findings, and the grids of the network's layers in order.

    `local` is true if the map is a gradient. `has_opposite` is for an empty map: it tells if the part that the options
    or the method removed has values, that of the other polarity, or the opposing map of a class activation map.
    """

    parameters: Mapping[str, Any]
    findings: Mapping[str, Any]
    grids: Mapping[str, Grid]
    local: bool = False
    has_opposite: bool = False


def noted(
    found: Mapping[str, Any],
    saliency: NDArray[np.float32],
    index: int,
    maps: Maps,
    query: Query,
    grids: Mapping[str, Grid],
) -> dict[str, Any]:
    """Return the findings on the map of target `index`, with `notes` added if there are any: a list of texts."""
    method, polarity = METHODS[query.options.method], query.options.polarity
    score = "output" if query.head.activation.identity else query.options.score
    context = MapContext(
        parameters={"polarity": polarity, "score": score, **asdict(query.parameters)},  # type: ignore[call-overload]
        findings=found,
        grids=grids,
        local=method.local,
        has_opposite=not saliency.any() and _has_opposite(maps, index, polarity),
    )
    notes = map_notes(saliency, context)
    return {**found, "notes": notes} if notes else dict(found)


def _has_opposite(maps: Maps, index: int, polarity: str) -> bool:
    """Tell if the part of a map that was removed has values; it is only needed, and computed, for an empty map."""
    rest = maps.values if maps.opposing is None or polarity == "negative" else maps.opposing()
    return bool(rest[index].any())


def map_notes(saliency: NDArray[np.float32], context: MapContext) -> list[str]:
    """Return the notes on a map, in plain English; most maps have none."""
    notes = []
    if not saliency.any():
        notes.append(f"the map is empty, with 0 everywhere: {_reason(context)}")
    elif saliency.min() == saliency.max():
        notes.append(f"every pixel of the map has the same value, {float(saliency.flat[0]):.4g}")
    return notes + _grid_notes(context)


def _reason(context: MapContext) -> str:
    """Return the reason why a map is 0 everywhere."""
    polarity, layer = context.parameters.get("polarity", "both"), context.parameters.get("layer")
    if "layer_grid" in context.findings:
        return _layer_reason(context, polarity, f"layer '{layer}'" if ";" not in str(layer) else f"layers '{layer}'")
    if polarity != "both" and context.has_opposite:
        side = "against" if polarity == "negative" else "for"
        return f"no value of the map is {polarity}, so nothing in it speaks {side} the class"
    score = context.parameters.get("score")
    if context.local:
        advice = "" if score == "output" else ", and score=logit may not be"
        saturated = "" if score == "logit" else f"; the {score} may be saturated{advice}"
        return f"the gradient of the score is 0, because no active path leads from the pixels to the class{saturated}"
    return "the score is the same for every input that the method tries (the picture may equal the baseline)"


def _layer_reason(context: MapContext, polarity: str, layer: str) -> str:
    """Return the reason why a class activation map is 0 everywhere."""
    if not context.has_opposite:
        return f"the activations of {layer}, or their weights, are 0, so they do not change the score"
    if polarity == "negative":
        return f"nothing in {layer} speaks against the class: no weighted sum of its activations is negative"
    advice = "reduce=sum with polarity=negative shows the part that speaks against it"
    return f"nothing in {layer} speaks for the class: all weighted activations are negative before the ReLU; {advice}"


def _grid_notes(context: MapContext) -> list[str]:
    """Return the note on a layer with a coarse grid, with the name of a finer layer."""
    grid, layer = context.findings.get("layer_grid"), str(context.parameters.get("layer"))
    if not isinstance(grid, list) or min(grid) >= FINE_GRID:
        return []
    note = f"layer '{layer}' has a grid of only {_size(grid)} cells"
    finer = finer_layer(layer, context.grids)
    return [note + (f"; layer={finer} has {_size(context.grids[finer])}" if finer else "")]


def _size(grid: Grid | list[int]) -> str:
    return f"{grid[0]} x {grid[1]}"


def finer_layer(layer: str, grids: Mapping[str, Grid]) -> str | None:
    """Return the last layer before `layer` with a grid of at least 7 x 7 cells, else with a finer one; None without.

    A block is preferred to its parts: a layer as high in the module tree as `layer`, if there is one.
    """
    names = list(grids)
    before = names[: names.index(layer)] if layer in grids else []
    fine = [name for name in before if min(grids[name]) >= FINE_GRID]
    finer = fine or [name for name in before if min(grids[name]) > min(grids[layer])]
    blocks = [name for name in finer if name.count(".") <= layer.count(".")]
    best = blocks or finer
    return best[-1] if best else None
