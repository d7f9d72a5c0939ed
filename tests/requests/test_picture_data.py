"""D1, D7, D8: the picture is found among the fields, and taken out of text, data URLs and objects."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.requests.test_query import png, read, read_error
from torchserve_saliency.requests.picture_data import file_bytes


def photo(kind: str = "PNG") -> bytes:
    """Return a small picture whose base64 text has `+` and `/`."""
    pixels = np.random.default_rng(3).integers(0, 255, (40, 30, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


TEXT = base64.b64encode(photo()).decode()
EXPECTED = read({"data": photo()}).picture.pixels


def check(fields: dict[str, Any], **route: Any) -> None:
    """Check that the fields are read as the picture."""
    np.testing.assert_array_equal(read(fields, **route).picture.pixels, EXPECTED)


@pytest.mark.parametrize("name", ["file", "image", "upload", "my picture", "files[]", "x", "Data", "input_image"])
def test_d1_a_form_field_of_any_name_is_the_picture_if_it_is_the_only_one(name: str) -> None:
    check({name: bytearray(photo()), "top_k": b"3"})
    check({"method": b"gradient", name: TEXT.encode()})


@pytest.mark.parametrize("name", ["image", "b64", "file", "image_bytes", "imageBase64", "anything"])
def test_d1_json_with_another_name_is_read(name: str) -> None:
    check({"body": {name: TEXT, "top_k": 3}})
    check({"body": {name: {"b64": TEXT}}})
    check({"body": {name: f"data:image/png;base64,{TEXT}"}})


@pytest.mark.parametrize(
    "fields",
    [
        {"data": photo(), "image": photo()},
        {"file": photo(), "image": photo()},
        {"data": photo(), "body": photo()},
        {"body": {"image": TEXT, "b64": TEXT}},
        {"body": {"data": TEXT, "mask": TEXT}},
    ],
)
def test_d1_several_pictures_are_refused_with_the_field_to_use(fields: dict[str, Any]) -> None:
    error = read_error(fields)
    assert (error.status, error.option) == (400, "data")
    assert "send one picture, as 'data'" in error.message


@pytest.mark.parametrize("value", ["hello", "", 3, None, ["a"], {"a": 1, "b": 2}])
def test_d1_a_field_that_is_neither_option_nor_picture_is_refused(value: object) -> None:
    error = read_error({"body": {"owl": value}})
    assert (error.status, error.option) == (400, "owl")
    assert "'data'" in error.message
    assert (
        read_error({"body": {"data": TEXT, "metod": "x"}}).message
        == "there is no option 'metod'; did you mean 'method'?"
    )


def test_d1_a_damaged_file_of_any_name_is_a_damaged_picture() -> None:
    assert read_error({"file": photo()[:200]}).status == 415
    assert read_error({"scan": b"\xff\xd8\xff" + bytes(100)}).status == 415


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF"])
def test_d8_base64_text_in_a_form_field_or_a_file_is_decoded(kind: str) -> None:
    data = photo(kind)
    expected = read({"data": data}).picture.pixels
    text = base64.b64encode(data)
    wrapped = base64.encodebytes(data)
    for sent in (text, wrapped, wrapped.replace(b"\n", b"\r\n"), b"data:image/x;base64," + text, b" " + text + b"\n"):
        for field in ("data", "body", "file"):
            np.testing.assert_array_equal(read({field: bytearray(sent)}).picture.pixels, expected)


@pytest.mark.parametrize(
    "text",
    [
        TEXT.rstrip("="),
        TEXT.replace("+", "-").replace("/", "_"),
        TEXT.replace("+", " "),
        " ".join(TEXT[i : i + 76] for i in range(0, len(TEXT), 76)),
        f"DATA:image/png;base64,{TEXT.replace('+', '%2B').replace('/', '%2F')}",
        TEXT.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D"),
        f'"{TEXT}"',
        f"b'{TEXT}'",
        f'"data:image/png;base64,{TEXT}"',
    ],
)
def test_d8_text_that_forms_and_urls_have_changed_is_read(text: str) -> None:
    assert "+" in TEXT
    check({"data": text})
    check({"body": {"data": text}})
    check({"data": text.encode()})


@pytest.mark.parametrize("data", [b"hello", b"QUJDREVG", b"BM", b"AAAA" * 50, b"data", "AAAA"])
def test_d8_text_that_is_no_picture_is_refused(data: object) -> None:
    assert read_error({"data": data}).status in (400, 415)


@pytest.mark.parametrize("text", [TEXT[:-3], "a", "é" * 8, "data:image/png,%89PNG", "data:image/png;base64,!!!"])
def test_d8_invalid_base64_is_refused(text: str) -> None:
    error = read_error({"body": {"data": text}})
    assert (error.status, error.message) == (400, "'data' is not valid base64")


def test_an_address_is_refused_with_the_reason() -> None:
    error = read_error({"body": {"data": "https://example.org/owl.jpg"}})
    assert (error.status, error.option) == (400, "data")
    assert "no address is fetched" in error.message


def test_a_bitmap_whose_first_bytes_are_letters_is_a_file() -> None:
    np.testing.assert_array_equal(read({"body": photo("BMP")}).picture.pixels, EXPECTED)


def test_d7_a_list_of_one_picture_is_read() -> None:
    check({"body": {"image": [TEXT]}})
    check({"body": {"data": [{"b64": TEXT}]}})
    for several in ([TEXT, TEXT], [], list(photo()), [[1, 2], [3, 4]]):
        error = read_error({"body": {"data": several}})
        assert (error.status, error.option) == (400, "data")
        assert "'instances'" in error.message


@pytest.mark.parametrize("key", ["b64", "base64", "content", "data"])
def test_d7_an_object_with_a_text_is_read(key: str) -> None:
    check({"body": {"image": {key: TEXT}}})


def test_a_method_without_a_picture_refuses_one_of_any_name() -> None:
    error = read_error({"image": png(), "method": b"activation_maximization", "target": b"1"})
    assert (error.status, error.option) == (400, "data")


@pytest.mark.parametrize("text", [b" " * 200_000, b"a" * 200_000 + b" " * 200_000, b"data:," + b"\n" * 200_000])
def test_long_text_that_ends_in_another_byte_is_read_in_one_pass(text: bytes) -> None:
    """A regular expression that backtracks would not end on it."""
    assert file_bytes(text + b"\x01") == text + b"\x01"


@pytest.mark.parametrize("data", [b"not a picture", b"hello", b"=", b"'"])
def test_text_in_a_file_that_is_not_base64_is_no_picture(data: bytes) -> None:
    assert file_bytes(data) == data
