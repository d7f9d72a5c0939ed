"""Every method in mixed batches of eight, with errors and predictions: each answer is the same as alone."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import cast

import numpy as np
import pytest
import torch
from torch import nn

from tests.asking import cheap
from tests.networks import Flat, Modules, Tokens, classifier, made
from tests.test_explainer import assert_predictions, picture
from torchserve_saliency.errors import RequestError
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.methods import METHODS
from torchserve_saliency.methods.base import Shows
from torchserve_saliency.model.archive import Limits
from torchserve_saliency.quality.scores import SCORES
from torchserve_saliency.requests.compatibility import unsupported_reason
from torchserve_saliency.requests.message import Message
from torchserve_saliency.responses.explanation import Explanation, Outcome
from torchserve_saliency.schema import option_types

EIGHT = 8
TOLERANCE = 1e-4  # relative to a map's largest magnitude
SCORE_TOLERANCE = 1e-3  # larger, because deletion and insertion rank pixels by the map
NETWORKS: tuple[Callable[[], nn.Module], ...] = (Modules, Tokens, Flat)

TARGETS: tuple[object, ...] = (1, "predicted", "top2", [0, "crane (4)"], "dog", "top3")
SCORE_OPTIONS = ("logit", "probability", "log_probability")
REDUCE_OPTIONS = ("sum", "none", "max_abs", "l2", "sum_abs")
INVALID: tuple[Mapping[str, object], ...] = (
    {"target": "no such class"},
    {"method": "smooth_grad", "samples": 0},
    {"method": "grad_cam", "layer": "nope"},
    {"target": 2, "against": 2},
    {"method": "rise", "steps": 3},
    {"method": "feature_maps", "quality": "true"},
    {"data": b"no picture"},
)


@dataclass(frozen=True)
class Request:
    """A request: its fields, and if it is for an explanation."""

    fields: Mapping[str, object]
    explain: bool = True

    def __str__(self) -> str:
        return str({name: value for name, value in self.fields.items() if name != "data"})


def request_for(method: str, number: int) -> Request:
    """Return a request for a method; its number selects target, score, reduction, picture and quality."""
    fields: dict[str, object] = {"method": method, "target": TARGETS[number % len(TARGETS)]}
    fields |= {"score": SCORE_OPTIONS[number % len(SCORE_OPTIONS)], "data": picture(number)} | cheap(
        option_types(METHODS[method].parameters)
    )
    if number % 4 == 0:
        fields["against"] = "runner_up"
    if METHODS[method].shows is Shows.SALIENCY:
        fields |= {"reduce": REDUCE_OPTIONS[number % len(REDUCE_OPTIONS)], "quality": str(number % 5 == 0).lower()}
        return Request(fields | ({"space": "original"} if number % 7 == 0 else {}))
    if METHODS[method].shows is Shows.INPUT:
        del fields["data"]
        fields.pop("against", None)
    return Request(fields | {"target": 1})


def batches(network: Explainer, seed: int) -> Iterator[list[Request]]:
    """Yield all methods in shuffled batches of eight, each with an invalid request and a prediction or another one."""
    numbers = count(100 * seed)
    possible = [name for name in METHODS if unsupported_reason(name, network.classifier) is None]
    random.Random(seed).shuffle(possible)
    for start in range(0, len(possible), EIGHT - 2):
        methods = possible[start : start + EIGHT - 2]
        methods += possible[: EIGHT - 2 - len(methods)]
        batch = [request_for(method, next(numbers)) for method in methods]
        invalid = [Request({"data": picture(1), **INVALID[next(numbers) % len(INVALID)]}) for _ in range(2)]
        plain = Request({"data": picture(next(numbers))}, explain=False)
        mixed = [*batch, invalid[0], plain if start % 4 else invalid[1]]
        random.Random(seed + start).shuffle(mixed)
        yield mixed


def answers_to(explainer: Explainer, requests: list[Request]) -> list[Outcome | RequestError]:
    queries = [explainer.read(Message(request.fields, explain=request.explain)) for request in requests]
    return explainer.begin(queries).forward().finish()


def assert_alike(together: Outcome | RequestError, alone: Outcome | RequestError, request: Request) -> None:
    """Assert that an answer in a batch is the same as alone."""
    assert type(together) is type(alone), f"{request}: {together!r}, alone {alone!r}"
    if isinstance(together, RequestError):
        assert isinstance(alone, RequestError)
        assert together.body() == alone.body()
    elif isinstance(together, Explanation):
        assert isinstance(alone, Explanation)
        assert_predictions(together.predictions, alone.predictions)
        assert (together.method, together.parameters) == (alone.method, alone.parameters)
        assert_maps_alike(together, alone, request)
    else:
        assert isinstance(alone, tuple)
        assert_predictions(together, alone)


def assert_maps_alike(together: Explanation, alone: Explanation, request: Request) -> None:
    assert len(together.maps) == len(alone.maps) > 0
    for one, other in zip(together.maps, alone.maps, strict=True):
        assert (one.target.index, one.against is None) == (other.target.index, other.against is None)
        assert one.saliency.shape == other.saliency.shape
        difference = np.abs(one.saliency - other.saliency).max()
        assert difference <= TOLERANCE * np.abs(other.saliency).max(), f"{request}: {difference}"
        assert_findings_alike(one.findings, other.findings, request)
        assert_scores_alike(one.quality or {}, other.quality or {}, request)


def assert_findings_alike(one: Mapping[str, object], other: Mapping[str, object], request: Request) -> None:
    assert list(one) == list(other)
    for name, value in other.items():
        expected = value if name == "notes" else pytest.approx(value, rel=1e-3, abs=1e-5)
        assert one[name] == expected, f"{request}: {name}"


def assert_scores_alike(one: Mapping[str, object], other: Mapping[str, object], request: Request) -> None:
    assert list(one) == list(other)
    for name in other.keys() & SCORES.keys():
        mine, theirs = cast(list[Mapping[str, object]], [one[name], other[name]])
        assert mine.get("reason") == theirs.get("reason")
        for key in ("value", "random"):
            near = None if theirs[key] is None else pytest.approx(theirs[key], rel=SCORE_TOLERANCE, abs=SCORE_TOLERANCE)
            assert mine[key] == near, f"{request}: {name}, {key}"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Use one thread: small networks are ten times faster so if the cores are shared with other processes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("make", NETWORKS, ids=lambda make: make.__name__)
@pytest.mark.parametrize("rows", [Limits().max_batch_rows, 4])
@pytest.mark.parametrize("seed", [1, 2])
def test_each_answer_of_a_mixed_batch_of_eight_is_the_same_as_alone(
    make: Callable[[], nn.Module], rows: int, seed: int
) -> None:
    alone = Explainer(classifier(made(make)))
    packed = Explainer(classifier(made(make), limits=Limits(max_batch_rows=rows)))
    for batch in batches(alone, seed):
        assert len(batch) == EIGHT
        together = answers_to(packed, batch)
        assert any(isinstance(outcome, RequestError) for outcome in together)
        for request, outcome in zip(batch, together, strict=True):
            assert_alike(outcome, answers_to(alone, [request])[0], request)
