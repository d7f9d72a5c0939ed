"""What a request may spend: bounds of passes and seconds, refused before anything is begun."""

from __future__ import annotations

from dataclasses import replace

import pytest
from torch import Tensor

from saliency.errors import RequestError
from saliency.explainer import Explainer
from saliency.methods.base import Cost
from saliency.pace import Pace
from saliency.spending import check_cost
from saliency.unpacked import Limits
from tests.networks import Modules, classifier, made
from tests.test_explainer import picture


class Fixed(Pace):
    """A pace that is known."""

    def __init__(self, forward: float, backward: float) -> None:
        self.forward, self.backward, self._measured = forward, backward, float("inf")


def refusal(cost: Cost, targets: int = 1, pace: Pace | None = None) -> RequestError:
    """Return the refusal of a cost under small limits."""
    limited = replace(
        classifier(made(Modules), limits=Limits(max_forwards=100, max_seconds=10)), pace=pace or Fixed(0.01, 0.02)
    )
    with pytest.raises(RequestError) as caught:
        check_cost("rise", cost, targets, limited)
    return caught.value


def test_a_request_within_the_limits_passes() -> None:
    limited = replace(classifier(made(Modules), limits=Limits(max_forwards=100, max_seconds=10)), pace=Fixed(0.1, 0.0))
    check_cost("rise", Cost(100), 20, limited)


def test_too_many_pictures_are_refused_with_the_bound() -> None:
    error = refusal(Cost(101))
    assert (error.status, error.option) == (400, "method")
    assert (
        error.message == "'rise' with these parameters evaluates up to 101 pictures, "
        "and the limit is 100 (max_forwards)"
    )


@pytest.mark.parametrize(("cost", "targets"), [(Cost(100), 1), (Cost(10, 10), 10)])
def test_too_many_seconds_are_refused_with_the_bound(cost: Cost, targets: int) -> None:
    error = refusal(cost, targets, Fixed(0.2, 0.1))
    assert error.status == 400
    assert error.message.endswith("seconds here, and the limit is 10 (max_seconds)")


def test_a_refused_request_runs_nothing() -> None:
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


def test_quality_is_a_part_of_what_a_request_spends() -> None:
    explainer = Explainer(classifier(made(Modules), limits=Limits(max_forwards=50)))
    explainer.explain(picture(0))
    with pytest.raises(RequestError, match="max_forwards"):
        explainer.explain(picture(0), quality=True)
