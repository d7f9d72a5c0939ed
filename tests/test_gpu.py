"""A CUDA device gives the same answers as the CPU, also in mixed batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from tests.networks import Modules, Tokens, classifier, made
from tests.test_explainer import picture
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.methods import METHODS
from torchserve_saliency.methods.base import Shows
from torchserve_saliency.requests.compatibility import unsupported_reason
from torchserve_saliency.requests.message import Message
from torchserve_saliency.requests.query import Query, read_query
from torchserve_saliency.responses.explanation import Explanation
from torchserve_saliency.schema import option_types

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def without_noise(method: str) -> dict[str, object]:
    """Return options that turn off a method's noise, because CPU and GPU generate different random numbers."""
    return {"noise": 0} if "noise" in option_types(METHODS[method].parameters) else {}


def signed(method: str) -> dict[str, object]:
    """Return options that keep the sign of a map; maps of channels always keep it."""
    return {} if METHODS[method].shows is not Shows.SALIENCY else {"reduce": "sum"}


def maps(device: str, make: Callable[[], nn.Module]) -> list[np.ndarray]:
    """Return the map of every method, from one batch with one request per method."""
    model = replace(classifier(made(make)), device=torch.device(device))
    explainer = Explainer(replace(model, network=model.network.to(device)))
    supported = [name for name in METHODS if unsupported_reason(name, model) is None]
    methods = [name for name in supported if METHODS[name].shows is not Shows.INPUT]
    queries: list[Query] = [
        read_query(Message(fields | {"data": picture(i)}, explain=True), model)
        for i, fields in enumerate({"method": m, **signed(m), **without_noise(m)} for m in methods)
    ]
    outcomes = explainer.begin(list(queries)).forward().finish()
    assert all(isinstance(outcome, Explanation) for outcome in outcomes)
    return [outcome.maps[0].saliency for outcome in outcomes if isinstance(outcome, Explanation)]


@pytest.mark.parametrize("make", [Modules, Tokens])
def test_a_mixed_batch_has_the_same_maps_on_gpu_and_cpu(make: Callable[[], nn.Module]) -> None:
    for ours, reference in zip(maps("cuda", make), maps("cpu", make), strict=True):
        np.testing.assert_allclose(ours, reference, atol=1e-3 * np.abs(reference).max())
