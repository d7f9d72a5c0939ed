"""On a CUDA device the answers are those of the CPU, in mixed batches too."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from saliency.explainer import Explainer
from saliency.explanation import Explanation
from saliency.message import Message
from saliency.methods import METHODS
from saliency.methods.base import Shows
from saliency.request import Query, read_query
from saliency.schema import kinds
from tests.networks import Modules, classifier, made
from tests.test_explainer import picture

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: the answers of a GPU are not compared"),
]


def noiseless(method: str) -> dict[str, object]:
    """Return what keeps a method from drawing noise, which each kind of device draws in its own way."""
    return {"noise": 0} if "noise" in kinds(METHODS[method].parameters) else {}


def signed(method: str) -> dict[str, object]:
    """Return what keeps a map's signs: a sheet keeps them by itself."""
    return {} if METHODS[method].shows is not Shows.SALIENCY else {"reduce": "sum"}


def maps(device: str) -> list[np.ndarray]:
    """Return every method's map of a batch that holds one request of each."""
    model = replace(classifier(made(Modules)), device=torch.device(device))
    explainer = Explainer(replace(model, network=model.network.to(device)))
    queries: list[Query] = [
        read_query(Message(fields | {"data": picture(i)}, explain=True), model)
        for i, fields in enumerate({"method": m, **signed(m), **noiseless(m)} for m in METHODS)
    ]
    outcomes = explainer.begin(list(queries)).forward().finish()
    assert all(isinstance(outcome, Explanation) for outcome in outcomes)
    return [outcome.maps[0].saliency for outcome in outcomes if isinstance(outcome, Explanation)]


def test_a_mixed_batch_on_the_gpu_is_that_on_the_cpu() -> None:
    for ours, reference in zip(maps("cuda"), maps("cpu"), strict=True):
        np.testing.assert_allclose(ours, reference, atol=1e-3 * np.abs(reference).max())
