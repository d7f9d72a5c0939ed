"""The `Accept` header, as RFC 9110 reads it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saliency.errors import RequestError
from saliency.negotiation import accepted

OFFERS = ("json", "png", "npy")


@pytest.mark.parametrize(
    ("header", "chosen"),
    [
        ("", "json"),
        ("*/*", "json"),
        ("image/png", "png"),
        ("IMAGE/*", "png"),
        ("application/x-npy, application/json;q=0.5", "npy"),
        ("application/json;q=0.2, image/png;q=0.9", "png"),
        ("text/html, application/xhtml+xml, */*;q=0.8", "json"),
        ("image/avif, image/webp, image/*, */*;q=0.8", "png"),
        ("application/json;q=0, */*;q=0.1", "png"),
        ("application/json; charset=utf-8", "json"),
    ],
)
def test_the_most_wanted_format_is_chosen(header: str, chosen: str) -> None:
    assert accepted(header, OFFERS) == chosen


@pytest.mark.parametrize("header", ["text/html", "image/jpeg", "nonsense", "application/json;q=0", "*/*;q=nan"])
def test_what_no_format_meets_is_406(header: str) -> None:
    with pytest.raises(RequestError, match="application/x-npy") as refusal:
        accepted(header, OFFERS)
    assert refusal.value.status == 406


@given(st.text())
def test_any_header_gives_a_format_or_406(header: str) -> None:
    try:
        assert accepted(header, OFFERS) in OFFERS
    except RequestError as refusal:
        assert refusal.status == 406
