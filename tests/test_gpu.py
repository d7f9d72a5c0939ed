"""On a CUDA device the answers are those of the CPU, in mixed batches too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from saliency.explainer import Explainer
from saliency.explanation import Explanation
from saliency.message import Message
from saliency.methods import METHODS
from saliency.methods.base import Shows
from saliency.needs import lacking
from saliency.request import Query, read_query
from saliency.schema import kinds
from tests.networks import Modules, Tokens, classifier, made
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


def maps(device: str, make: Callable[[], nn.Module]) -> list[np.ndarray]:
    """Return every method's map of a batch that holds one request of each."""
    model = replace(classifier(made(make)), device=torch.device(device))
    explainer = Explainer(replace(model, network=model.network.to(device)))
    taken = [name for name in METHODS if lacking(name, model) is None]
    methods = [name for name in taken if METHODS[name].shows is not Shows.INPUT]
    queries: list[Query] = [
        read_query(Message(fields | {"data": picture(i)}, explain=True), model)
        for i, fields in enumerate({"method": m, **signed(m), **noiseless(m)} for m in methods)
    ]
    outcomes = explainer.begin(list(queries)).forward().finish()
    assert all(isinstance(outcome, Explanation) for outcome in outcomes)
    return [outcome.maps[0].saliency for outcome in outcomes if isinstance(outcome, Explanation)]


@pytest.mark.parametrize("make", [Modules, Tokens])
def test_a_mixed_batch_on_the_gpu_is_that_on_the_cpu(make: Callable[[], nn.Module]) -> None:
    for ours, reference in zip(maps("cuda", make), maps("cpu", make), strict=True):
        np.testing.assert_allclose(ours, reference, atol=1e-3 * np.abs(reference).max())
