"""The options `target` and `against`: their values as sent."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given

from tests.test_schema import ANYTHING
from torchserve_saliency.engine.objective import Rank, ranking
from torchserve_saliency.requests.target_options import Against, Targets


@pytest.mark.parametrize(
    ("sent", "targets"),
    [
        ("predicted", (Rank(0),)),
        ("Predicted", (Rank(0),)),
        (24, (24,)),
        ("24", ("24",)),
        ("-1", ("-1",)),
        ("great grey owl", ("great grey owl",)),
        ("top3", (Rank(0), Rank(1), Rank(2))),
        ("TOP1", (Rank(0),)),
        ("owl; 3 ;predicted", ("owl", "3", Rank(0))),
        ([24, "owl; barn", "top2"], (24, "owl; barn", Rank(0), Rank(1))),
        ("topknot", ("topknot",)),
    ],
)
def test_targets_are_read(sent: object, targets: tuple[object, ...]) -> None:
    assert Targets().read(sent) == targets


@pytest.mark.parametrize(
    "sent", [None, True, 1.5, [], "", ";", "a;;b", "top0", "top101", [[1]], {"a": 1}, [None], ["x"] * 101]
)
def test_a_value_that_names_no_class_is_an_error(sent: object) -> None:
    with pytest.raises(ValueError, match="must"):
        Targets().read(sent)


@given(ANYTHING)
def test_anything_is_targets_or_a_value_error(sent: object) -> None:
    for option_type in (Targets(), Against()):
        try:
            option_type.read(sent)
        except ValueError as error:
            assert "must" in str(error)


def test_values_of_against_are_read() -> None:
    sent = (None, "None", 3, "3", "owl", "runner_up")
    assert [Against().read(value) for value in sent] == [None, None, 3, "3", "owl", "runner_up"]


def test_equal_logits_keep_one_order_for_any_count() -> None:
    logits = torch.tensor([0.0, 5.0, 5.0, 5.0, 1.0])
    assert [ranking(logits, count) for count in (1, 2, 3, 9)] == [[1], [1, 2], [1, 2, 3], [1, 2, 3, 4, 0]]
