"""The limit on the forward passes of a request, checked before it starts; seconds are not estimated (D9)."""

from __future__ import annotations

import pytest
from torch import Tensor

from tests.networks import Modules, classifier, made
from tests.test_explainer import picture
from torchserve_saliency.errors import RequestError
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.methods.base import Cost
from torchserve_saliency.model.archive import Limits
from torchserve_saliency.requests.limits import check_cost
from torchserve_saliency.requests.message import Message
from torchserve_saliency.requests.query import Query
from torchserve_saliency.responses.explanation import Explanation

LIMITS = Limits(max_forwards=100)


def cost_error(cost: Cost, targets: int = 1) -> RequestError:
    """Return the error of a cost that exceeds small limits."""
    with pytest.raises(RequestError) as caught:
        check_cost("rise", cost, targets, LIMITS)
    return caught.value


def test_a_request_within_the_limits_passes() -> None:
    check_cost("rise", Cost(100, 1000), 20, LIMITS)
    check_cost("rise", Cost(20, 0, 4), 20, LIMITS)


def test_too_many_forward_passes_are_an_error_with_the_limit() -> None:
    error = cost_error(Cost(101))
    assert (error.status, error.option) == (400, "method")
    assert (
        error.message == "'rise' with these parameters needs up to 101 forward passes, "
        "and the limit is 100 (max_forwards)"
    )


def test_the_forward_passes_of_each_target_count() -> None:
    assert "needs up to 110 forward passes" in cost_error(Cost(10, 0, 10), 10).message


def test_d9_a_busy_machine_at_load_refuses_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """D9: no wall time is measured for the limits, however slow the machine is."""

    class Busy(Modules):
        def forward(self, x: Tensor) -> Tensor:
            now[0] += 1000
            return super().forward(x)

    now = [0.0]
    for clock in ("perf_counter", "monotonic"):
        monkeypatch.setattr(f"time.{clock}", lambda: now[0])
    explainer = Explainer(classifier(made(Busy), limits=Limits(max_seconds=1)))
    query = explainer.read(Message({"data": picture(0), "method": "smooth_grad", "samples": 20}, explain=True))
    assert isinstance(query, Query)
    (outcome,) = explainer.begin([query], deadline=1e9).finish()
    assert isinstance(outcome, Explanation)


def test_an_invalid_request_runs_no_forward_pass() -> None:
    class Counting(Modules):
        passes = 0

        def forward(self, x: Tensor) -> Tensor:
            Counting.passes += 1
            return super().forward(x)

    explainer = Explainer(classifier(made(Counting), limits=Limits(max_forwards=20)))
    before = Counting.passes
    with pytest.raises(RequestError, match="max_forwards"):
        explainer.explain(picture(0), method="smooth_grad", samples=20)
    assert Counting.passes == before
    explainer.explain(picture(0), method="smooth_grad", samples=19)


def test_quality_is_part_of_the_cost() -> None:
    explainer = Explainer(classifier(made(Modules), limits=Limits(max_forwards=50)))
    explainer.explain(picture(0))
    with pytest.raises(RequestError, match="max_forwards"):
        explainer.explain(picture(0), quality=True)
