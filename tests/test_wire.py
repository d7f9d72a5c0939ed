"""Forms as other parsers read them, and replies as they came."""

from __future__ import annotations

from email import message_from_bytes
from email.message import Message

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.wire import Part, form


def parsed(parts: list[Part]) -> list[Message]:
    """Return the parts as the standard library's parser, which is none of ours, reads them."""
    body, kind = form(parts)
    message = message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
    assert message.is_multipart()
    return [part for part in message.get_payload() if isinstance(part, Message)]


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=4))
def test_values_arrive_byte_for_byte(values: list[bytes]) -> None:
    body, kind = form([Part(f"field{i}", value) for i, value in enumerate(values)])
    boundary = kind.partition("boundary=")[2].encode()
    pieces = body.split(b"--" + boundary)
    assert [piece.split(b"\r\n\r\n", 1)[1][:-2] for piece in pieces[1:-1]] == values
    assert pieces[-1] == b"--\r\n"


def test_text_is_sent_as_utf8() -> None:
    body, _ = form([Part("target", "Zürich × owl")])
    assert "Zürich × owl".encode() in body


@pytest.mark.parametrize("name", ['a"b.png', "a\r\nContent-Type: evil.png", 'x"; name="data'])
def test_a_file_name_cannot_add_headers_or_parameters(name: str) -> None:
    (part,) = parsed([Part("data", b"bytes", name)])
    assert part.get_param("name", header="Content-Disposition") == "data"
    assert part.keys() == ["Content-Disposition", "Content-Type"]
    assert part.get_content_type() == "application/octet-stream"


def test_a_field_without_a_file_name_is_a_plain_field() -> None:
    (field,) = parsed([Part("target", "rust")])
    assert field.get_filename() is None
    assert field.get_payload() == "rust"
