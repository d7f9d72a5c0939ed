"""Classifiers compiled with a backend that needs no compiler, and a record of their compiled passes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from torch import Tensor

from tests.networks import inputs
from torchserve_saliency.model.acceleration.compilation import compile_network
from torchserve_saliency.model.acceleration.precision import Precision
from torchserve_saliency.model.classifier import Classifier

FAST: Mapping[str, object] = {"backend": "aot_eager"}  # only traces, instead of a minute of compilation


def compiled(model: Classifier, rows: int = 2, options: Mapping[str, object] = FAST) -> Classifier:
    """Return a classifier compiled for batches of up to `rows`."""
    network = compile_network(model.network, options, inputs(rows), Precision())
    assert network is not None
    return replace(model, compiled=network)


def sizes(*each: int) -> dict[str, tuple[int, ...]]:
    """Return these batch sizes for both kinds of pass."""
    return {"prediction": each, "gradient": each}


def runs_of(model: Classifier, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list to which each compiled pass appends its number of rows."""
    assert model.compiled is not None
    function, batches = model.compiled._function, []

    def counted(x: Tensor) -> Tensor:
        batches.append(len(x))
        return function(x)

    monkeypatch.setattr(model.compiled, "_function", counted)
    return batches
