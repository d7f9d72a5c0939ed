"""A batch explained by our engine and by the libraries, checked once to find the same maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from saliency.explainer import Explainer
from saliency.methods import METHODS
from saliency.methods.base import Need
from saliency.passes import relative
from saliency.request import Query
from scripts.bench.loops import explained, inputs, queries
from scripts.bench.rivals import PARAMETERS, RIVALS, Subject, has_grid, scaled
from scripts.bench.timing import Run

ENGINE, PREPARED = "engine", ", our prepared network"
SAME = 0.05  # relative error in norm: float32 at kinks, over many passes

Work = Callable[[], Tensor]


def works(explainer: Explainer, plain: nn.Module, rows: int, data: bytes, method: str, batch: int) -> dict[str, Work]:
    """Return a method's work by who does it, from decoded pictures to maps [n, …] on the CPU.

    The libraries do it on the `plain` network and on the engine's own, at most `rows` rows at a time; they have no CAM
    of a layer of tokens.
    """
    asked = queries(explainer, data, batch, {"method": method, "reduce": "none", **PARAMETERS[method]})
    model = explainer.classifier
    x = inputs(model, [query.picture.tensor for query in asked])
    layer = model.layers.default or ""
    given = {
        "": Subject(plain, x.contiguous(), layer, rows, PARAMETERS[method]),
        PREPARED: Subject(model.network, x, layer, rows, PARAMETERS[method]),
    }
    found: dict[str, Work] = {ENGINE: partial(maps, explainer, asked)}
    if Need.LAYER in METHODS[method].needs and not has_grid(given[""]):
        return found
    for rival in RIVALS[method]:
        found |= {rival.package + suffix: partial(rival.explain, subject) for suffix, subject in given.items()}
    return found


def check(found: Mapping[str, Work], method: str) -> None:
    """Raise ValueError where a library finds other maps than the engine; those with noise of their own are believed."""
    expected = found[ENGINE]()
    kinds = {rival.package: rival for rival in RIVALS[method]}
    for name in list(found)[1:]:
        rival, theirs = kinds[name.removesuffix(PREPARED)], found[name]()
        wanted = scaled(expected) if rival.scales else expected
        error = relative(theirs.view_as(wanted), wanted)
        if not (error <= SAME or rival.stochastic):  # NaN is no agreement
            raise ValueError(f"{name} finds other maps of method {method} than ours: relative error {error:.2g}")


def runs(found: Mapping[str, Work]) -> dict[str, Run]:
    """Return works as runs."""
    return {name: _as_run(work) for name, work in found.items()}


def _as_run(work: Work) -> Run:
    def run() -> None:
        work()

    return run


def maps(explainer: Explainer, asked: list[Query]) -> Tensor:
    """Return the engine's maps [n, C, …] of read requests for one target each."""
    return torch.from_numpy(np.stack([explanation.maps[0].saliency for explanation in explained(explainer, asked)]))
