"""The options `target` and `against`, from what people send to class indices."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from saliency.errors import RequestError
from saliency.labels import Labels
from saliency.targets import Opponent, Rank, Targets, find_class, ranking
from tests.test_schema import ANYTHING


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
def test_what_names_no_class_is_refused(sent: object) -> None:
    with pytest.raises(ValueError, match="must"):
        Targets().read(sent)


@given(ANYTHING)
def test_anything_is_targets_or_a_value_error(sent: object) -> None:
    for kind in (Targets(), Opponent()):
        try:
            kind.read(sent)
        except ValueError as error:
            assert "must" in str(error)


@given(st.integers())
def test_an_index_is_found_within_the_classes_alone(index: int) -> None:
    labels = Labels(("cat", "dog"))
    if 0 <= index < 2:
        assert find_class(index, labels, "target") == index
        return
    with pytest.raises(RequestError) as refusal:
        find_class(index, labels, "against")
    assert (refusal.value.status, refusal.value.option) == (422, "against")
    assert "0 to 1" in refusal.value.message


def test_opponents_are_read() -> None:
    sent = (None, "None", 3, "3", "owl", "runner_up")
    assert [Opponent().read(value) for value in sent] == [None, None, 3, "3", "owl", "runner_up"]


def test_digits_are_a_label_where_there_is_one_and_an_index_else() -> None:
    digits = Labels(("9", "8", "7"))
    assert [find_class(said, digits, "target") for said in ("9", "7", "1", 1, 2)] == [0, 2, 1, 1, 2]
    with pytest.raises(RequestError, match="out of range"):
        find_class("3", digits, "target")


def test_equal_logits_keep_one_order_however_many_are_asked_for() -> None:
    logits = torch.tensor([0.0, 5.0, 5.0, 5.0, 1.0])
    assert [ranking(logits, count) for count in (1, 2, 3, 9)] == [[1], [1, 2], [1, 2, 3], [1, 2, 3, 4, 0]]
