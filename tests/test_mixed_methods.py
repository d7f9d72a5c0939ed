"""Every method in mixed batches of eight: each answer is what it is alone, refusals and predictions among them."""

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

from saliency.errors import RequestError
from saliency.explainer import Explainer
from saliency.explanation import Explanation
from saliency.jobs import Outcome
from saliency.message import Message
from saliency.methods import METHODS
from saliency.methods.base import Shows
from saliency.needs import lacking
from saliency.quality import SCORES
from saliency.schema import kinds
from saliency.unpacked import Limits
from tests.asking import cheap
from tests.networks import Flat, Modules, Tokens, classifier, made
from tests.test_explainer import assert_predictions, picture

EIGHT = 8
TOLERANCE = 1e-4  # of a map's largest magnitude
FIGURES = 1e-3  # of a quality figure's scale: deletion curves order the pixels by the map
NETWORKS: tuple[Callable[[], nn.Module], ...] = (Modules, Tokens, Flat)

TARGETS: tuple[object, ...] = (1, "predicted", "top2", [0, "crane (4)"], "dog", "top3")
SCORED = ("logit", "probability", "log_probability")
REDUCED = ("sum", "none", "max_abs", "l2", "sum_abs")
WRONG: tuple[Mapping[str, object], ...] = (
    {"target": "no such class"},
    {"method": "smooth_grad", "samples": 0},
    {"method": "grad_cam", "layer": "nope"},
    {"target": 2, "against": 2},
    {"method": "rise", "steps": 3},
    {"method": "feature_maps", "quality": "true"},
    {"data": b"no picture"},
)


@dataclass(frozen=True)
class Ask:
    """A request: its fields, and its route."""

    fields: Mapping[str, object]
    explain: bool = True

    def __str__(self) -> str:
        return str({name: value for name, value in self.fields.items() if name != "data"})


def asked(method: str, number: int) -> Ask:
    """Return a request of a method, its target, score, reduction, picture and evidence by its number."""
    fields: dict[str, object] = {"method": method, "target": TARGETS[number % len(TARGETS)]}
    fields |= {"score": SCORED[number % len(SCORED)], "data": picture(number)} | cheap(
        kinds(METHODS[method].parameters)
    )
    if number % 4 == 0:
        fields["against"] = "runner_up"
    if METHODS[method].shows is Shows.SALIENCY:
        fields |= {"reduce": REDUCED[number % len(REDUCED)], "quality": str(number % 5 == 0).lower()}
        return Ask(fields | ({"space": "original"} if number % 7 == 0 else {}))
    if METHODS[method].shows is Shows.INPUT:
        del fields["data"]
        fields.pop("against", None)
    return Ask(fields | {"target": 1})


def batches(network: Explainer, seed: int) -> Iterator[list[Ask]]:
    """Yield all methods in batches of eight by a seeded shuffle, each with a refusal and a prediction or a refusal."""
    numbers = count(100 * seed)
    taken = [name for name in METHODS if lacking(name, network.classifier) is None]
    random.Random(seed).shuffle(taken)
    for start in range(0, len(taken), EIGHT - 2):
        methods = taken[start : start + EIGHT - 2]
        methods += taken[: EIGHT - 2 - len(methods)]
        batch = [asked(method, next(numbers)) for method in methods]
        wrong = [Ask({"data": picture(1), **WRONG[next(numbers) % len(WRONG)]}) for _ in range(2)]
        plain = Ask({"data": picture(next(numbers))}, explain=False)
        mixed = [*batch, wrong[0], plain if start % 4 else wrong[1]]
        random.Random(seed + start).shuffle(mixed)
        yield mixed


def answered(explainer: Explainer, asks: list[Ask]) -> list[Outcome | RequestError]:
    queries = [explainer.read(Message(ask.fields, explain=ask.explain)) for ask in asks]
    return explainer.begin(queries).forward().finish()


def assert_alike(together: Outcome | RequestError, alone: Outcome | RequestError, ask: Ask) -> None:
    """Hold what a request got in a batch to be what it gets alone."""
    assert type(together) is type(alone), f"{ask}: {together!r}, alone {alone!r}"
    if isinstance(together, RequestError):
        assert isinstance(alone, RequestError)
        assert together.body() == alone.body()
    elif isinstance(together, Explanation):
        assert isinstance(alone, Explanation)
        assert_predictions(together.predictions, alone.predictions)
        assert (together.method, together.parameters) == (alone.method, alone.parameters)
        assert_maps_alike(together, alone, ask)
    else:
        assert isinstance(alone, tuple)
        assert_predictions(together, alone)


def assert_maps_alike(together: Explanation, alone: Explanation, ask: Ask) -> None:
    assert len(together.maps) == len(alone.maps) > 0
    for one, other in zip(together.maps, alone.maps, strict=True):
        assert (one.target.index, one.against is None) == (other.target.index, other.against is None)
        assert one.saliency.shape == other.saliency.shape
        apart = np.abs(one.saliency - other.saliency).max()
        assert apart <= TOLERANCE * np.abs(other.saliency).max(), f"{ask}: {apart}"
        assert_findings_alike(one.findings, other.findings, ask)
        assert_figures_alike(one.quality or {}, other.quality or {}, ask)


def assert_findings_alike(one: Mapping[str, object], other: Mapping[str, object], ask: Ask) -> None:
    assert list(one) == list(other)
    for name, value in other.items():
        assert one[name] == pytest.approx(value, rel=1e-3, abs=1e-5), f"{ask}: {name}"


def assert_figures_alike(one: Mapping[str, object], other: Mapping[str, object], ask: Ask) -> None:
    assert list(one) == list(other)
    for name in other.keys() & SCORES.keys():
        mine, theirs = cast(list[Mapping[str, object]], [one[name], other[name]])
        assert mine.get("reason") == theirs.get("reason")
        for key in ("value", "random"):
            near = None if theirs[key] is None else pytest.approx(theirs[key], rel=FIGURES, abs=FIGURES)
            assert mine[key] == near, f"{ask}: {name}, {key}"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks as small as these are an order of magnitude faster on one thread, where cores are shared."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("make", NETWORKS, ids=lambda make: make.__name__)
@pytest.mark.parametrize("rows", [Limits().max_batch_rows, 4])
@pytest.mark.parametrize("seed", [1, 2])
def test_each_of_a_mixed_batch_of_eight_is_what_it_is_alone(
    make: Callable[[], nn.Module], rows: int, seed: int
) -> None:
    alone = Explainer(classifier(made(make)))
    packed = Explainer(classifier(made(make), limits=Limits(max_batch_rows=rows)))
    for batch in batches(alone, seed):
        assert len(batch) == EIGHT
        together = answered(packed, batch)
        assert any(isinstance(outcome, RequestError) for outcome in together)
        for ask, outcome in zip(batch, together, strict=True):
            assert_alike(outcome, answered(alone, [ask])[0], ask)
