"""Classifiers compiled without a compiler, and what their compiled network was asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from torch import Tensor

from saliency.compiling import compile_network
from saliency.model import Classifier
from saliency.precision import Precision
from tests.networks import inputs

FAST: Mapping[str, object] = {"backend": "aot_eager"}  # traced, without a compiler's minute


def compiled(model: Classifier, rows: int = 2, options: Mapping[str, object] = FAST) -> Classifier:
    """Return a classifier compiled for batches of up to `rows`."""
    done = compile_network(model.network, options, inputs(rows), Precision())
    assert done is not None
    return replace(model, compiled=done)


def sizes(*each: int) -> dict[str, tuple[int, ...]]:
    """Return these batch sizes for either kind of pass."""
    return {"prediction": each, "gradient": each}


def runs_of(model: Classifier, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows by the rows of each batch that the compiled network runs."""
    assert model.compiled is not None
    run, seen = model.compiled._function, []

    def counted(x: Tensor) -> Tensor:
        seen.append(len(x))
        return run(x)

    monkeypatch.setattr(model.compiled, "_function", counted)
    return seen
