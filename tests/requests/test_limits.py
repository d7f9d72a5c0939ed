"""The limits on the cost of a request, checked before it starts: forward passes and seconds."""

from __future__ import annotations

import pytest
from torch import Tensor

from tests.networks import Modules, classifier, made
from tests.test_explainer import picture
from torchserve_saliency.errors import RequestError
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.methods.base import Cost
from torchserve_saliency.model.acceleration.time_per_pass import TimePerPass
from torchserve_saliency.model.archive import Limits
from torchserve_saliency.requests.limits import check_cost

LIMITS = Limits(max_forwards=100, max_seconds=10)


class Fixed(TimePerPass):
    """A time per pass that is given instead of measured."""

    def __init__(self, forward: float, backward: float) -> None:
        self.forward, self.backward, self._measured_at = forward, backward, float("inf")


def cost_error(cost: Cost, targets: int = 1, time_per_pass: TimePerPass | None = None) -> RequestError:
    """Return the error of a cost that exceeds small limits."""
    with pytest.raises(RequestError) as caught:
        check_cost("rise", cost, targets, LIMITS, time_per_pass or Fixed(0.01, 0.02))
    return caught.value


def test_a_request_within_the_limits_passes() -> None:
    check_cost("rise", Cost(100), 20, LIMITS, Fixed(0.1, 0.0))
    check_cost("rise", Cost(100), 20, LIMITS, None)


def test_too_many_forward_passes_are_an_error_with_the_limit() -> None:
    error = cost_error(Cost(101))
    assert (error.status, error.option) == (400, "method")
    assert (
        error.message == "'rise' with these parameters needs up to 101 forward passes, "
        "and the limit is 100 (max_forwards)"
    )


@pytest.mark.parametrize(("cost", "targets"), [(Cost(100), 1), (Cost(10, 10), 10)])
def test_too_many_seconds_are_an_error_with_the_limit(cost: Cost, targets: int) -> None:
    error = cost_error(cost, targets, Fixed(0.2, 0.1))
    assert error.status == 400
    assert error.message.endswith("seconds here, and the limit is 10 (max_seconds)")


def test_the_time_per_pass_is_measured_again_only_before_an_error() -> None:
    class Refreshing(Fixed):
        def refresh(self) -> None:
            self.forward /= 10

    slow = Refreshing(1.0, 0.0)
    check_cost("rise", Cost(10), 1, LIMITS, slow)
    assert slow.forward == 1.0
    check_cost("rise", Cost(11), 1, LIMITS, slow)
    assert slow.forward == 0.1


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
