"""Equal work for the engine and the libraries, with a check that they compute the same maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from tools.benchmark.bare_loop import explanations, inputs, queries
from tools.benchmark.reference_implementations import (
    LIBRARY_METHODS,
    PARAMETERS,
    LibraryInput,
    has_spatial_output,
    min_max_scaled,
)
from tools.benchmark.timing import Run
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.methods import METHODS
from torchserve_saliency.methods.base import Need
from torchserve_saliency.model.acceleration.trial_pass import relative_error
from torchserve_saliency.requests.query import Query

ENGINE, PREPARED = "engine", ", our prepared network"
TOLERANCE = 0.05  # relative error in norm, from float32 at kinks and many passes

Work = Callable[[], Tensor]


def work_by_library(
    explainer: Explainer, plain: nn.Module, rows: int, data: bytes, method: str, batch: int
) -> dict[str, Work]:
    """Return functions from decoded pictures to maps [n, …] on the CPU: of the engine and of each library.

    Each library works on the `plain` network and on the engine's network, with at most `rows` rows at a time. The
    libraries have no CAMs for layers of tokens.
    """
    batch_queries = queries(explainer, data, batch, {"method": method, "reduce": "none", **PARAMETERS[method]})
    model = explainer.classifier
    x = inputs(model, [query.picture.tensor for query in batch_queries])
    layer = model.layers.default or ""
    library_inputs = {
        "": LibraryInput(plain, x.contiguous(), layer, rows, PARAMETERS[method]),
        PREPARED: LibraryInput(model.network, x, layer, rows, PARAMETERS[method]),
    }
    work: dict[str, Work] = {ENGINE: partial(engine_maps, explainer, batch_queries)}
    if Need.LAYER in METHODS[method].needs and not has_spatial_output(library_inputs[""]):
        return work
    for library in LIBRARY_METHODS[method]:
        work |= {library.package + suffix: partial(library.explain, given) for suffix, given in library_inputs.items()}
    return work


def check_maps(work: Mapping[str, Work], method: str) -> None:
    """Raise ValueError if a library's maps differ from the engine's. Libraries with their own noise are not checked."""
    expected = work[ENGINE]()
    libraries = {library.package: library for library in LIBRARY_METHODS[method]}
    for name in list(work)[1:]:
        library, theirs = libraries[name.removesuffix(PREPARED)], work[name]()
        ours = min_max_scaled(expected) if library.scales else expected
        error = relative_error(theirs.view_as(ours), ours)
        if not (error <= TOLERANCE or library.stochastic):  # `not`, because the error may be NaN
            raise ValueError(
                f"{name} computes other maps of method {method} than the engine: relative error {error:.2g}"
            )


def as_runs(work: Mapping[str, Work]) -> dict[str, Run]:
    """Return runs that discard the maps."""
    return {name: _as_run(each) for name, each in work.items()}


def _as_run(work: Work) -> Run:
    def run() -> None:
        work()

    return run


def engine_maps(explainer: Explainer, batch: list[Query]) -> Tensor:
    """Return the engine's maps [n, C, …] of a batch of queries with one target each."""
    return torch.from_numpy(np.stack([explanation.maps[0].saliency for explanation in explanations(explainer, batch)]))
