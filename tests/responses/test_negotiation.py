"""Content negotiation by the `Accept` header, as in RFC 9110."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchserve_saliency.errors import RequestError
from torchserve_saliency.responses.negotiation import negotiate

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
def test_the_format_with_the_highest_quality_value_is_chosen(header: str, chosen: str) -> None:
    assert negotiate(header, OFFERS) == chosen


@pytest.mark.parametrize("header", ["text/html", "image/jpeg", "nonsense", "application/json;q=0", "*/*;q=nan"])
def test_a_header_that_accepts_no_format_is_406(header: str) -> None:
    with pytest.raises(RequestError, match="application/x-npy") as caught:
        negotiate(header, OFFERS)
    assert caught.value.status == 406


@given(st.text())
def test_any_header_gives_a_format_or_406(header: str) -> None:
    try:
        assert negotiate(header, OFFERS) in OFFERS
    except RequestError as caught:
        assert caught.status == 406
