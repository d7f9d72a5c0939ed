"""The class that a label or an index means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchserve_saliency.errors import RequestError
from torchserve_saliency.model.labels import Labels
from torchserve_saliency.requests.class_lookup import find_class


@given(st.integers())
def test_an_index_is_found_only_among_the_classes(index: int) -> None:
    labels = Labels(("cat", "dog"))
    if 0 <= index < 2:
        assert find_class(index, labels, "target") == index
        return
    with pytest.raises(RequestError) as caught:
        find_class(index, labels, "against")
    assert (caught.value.status, caught.value.option) == (422, "against")
    assert "0 to 1" in caught.value.message


def test_digits_are_a_label_if_there_is_one_else_an_index() -> None:
    digits = Labels(("9", "8", "7"))
    assert [find_class(name, digits, "target") for name in ("9", "7", "1", 1, 2)] == [0, 2, 1, 1, 2]
    with pytest.raises(RequestError, match="out of range"):
        find_class("3", digits, "target")
