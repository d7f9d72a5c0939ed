"""The detection of the protocol, and behaviour that all protocols share."""

from __future__ import annotations

import json

import pytest

from saliency_handler import SaliencyHandler
from tests.kserving import EXPLAIN, PREDICT, Row, alone, close, handler, pixels, serving, text, v1, v2
from tests.test_explainer import picture
from tests.test_handler import ask
from torchserve_saliency.model.archive import Limits

__all__ = ["handler"]


@pytest.mark.parametrize("content_type", ["application/json", "application/cloudevents+json"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_json_that_torchserve_did_not_parse_is_read_too(
    handler: SaliencyHandler, content_type: str, mark: bytes
) -> None:
    headers, fields = v1(EXPLAIN, {"data": text(1)})
    raw = {"body": bytearray(mark + json.dumps(fields["body"]).encode())}
    assert alone(handler, ({**headers, "Content-Type": content_type}, raw)) == alone(handler, (headers, fields))


@pytest.mark.parametrize("content_type", ["multipart/form-data; boundary=json", "application/json"])
def test_only_a_body_is_read_as_json(handler: SaliencyHandler, content_type: str) -> None:
    form = {"data": picture(1)}
    expected = alone(handler, ({**EXPLAIN, "url_path": ""}, form))
    assert expected[1] == 200
    assert alone(handler, ({**EXPLAIN, "url_path": "", "Content-Type": content_type}, form)) == expected


@pytest.mark.parametrize("body", ["[1]", "3", "null", '"text"'])
def test_a_json_body_must_be_an_object(handler: SaliencyHandler, body: str) -> None:
    headers = {**EXPLAIN, "url_path": "", "Content-Type": "application/problem+json"}
    value, status = alone(handler, (headers, {"body": body.encode()}))
    assert (status, value["type"]) == (400, "MalformedRequestException")
    assert value["message"] == "the JSON body must be an object with 'data'"


@pytest.mark.parametrize("content_type", ["application/json", "text/json; charset=utf-8", "", "text/plain"])
def test_a_picture_is_read_under_any_content_type(handler: SaliencyHandler, content_type: str) -> None:
    headers = {**EXPLAIN, "url_path": "", "Content-Type": content_type}
    expected = alone(handler, ({**EXPLAIN, "url_path": ""}, {"data": picture(1)}))
    assert expected[1] == 200
    assert alone(handler, (headers, {"body": bytearray(picture(1))})) == expected


@pytest.mark.parametrize("form", ["text", "list"])
def test_base64_of_a_picture_is_a_json_body(handler: SaliencyHandler, form: str) -> None:
    headers = {**EXPLAIN, "url_path": "", "Content-Type": "application/json"}
    expected = alone(handler, ({**EXPLAIN, "url_path": ""}, {"data": picture(1)}))[0]
    value, status = alone(handler, (headers, {"body": text(1) if form == "text" else [text(1)]}))
    assert status == 200
    assert (value if form == "text" else value["explanations"][0]) == expected


def test_the_pictures_of_a_request_share_its_limits() -> None:
    handler = serving(Limits(max_forwards=20, max_pixels=2 * 40 * 24))
    ig = {"method": "integrated_gradients", "steps": 9}
    assert alone(handler, v2(EXPLAIN, "BYTES", [1], [text(1)], parameters=ig))[1] == 200
    value, status = alone(handler, v2(EXPLAIN, "BYTES", [3], [text(1)] * 3, parameters=ig))
    assert (status, "max_forwards" in value["message"]) == (400, True)
    value, status = alone(handler, v1(EXPLAIN, *[{"data": text(1), **ig}] * 3))
    assert (status, "max_forwards" in value["explanations"][0]["message"]) == (400, True)
    image = pixels(1)
    assert image.shape == (24, 40, 3)
    for count, expected in ((2, 200), (3, 413)):
        assert alone(handler, v2(PREDICT, "BYTES", [count], [text(1)] * count))[1] == expected
        assert alone(handler, v2(PREDICT, "UINT8", [count, *image.shape], [image.tolist()] * count))[1] == expected
    assert alone(handler, v1(PREDICT, {"data": text(1)}, {"data": text(1)}, {}))[1] == 413


@pytest.mark.parametrize("body", [{"instances": [{}], "data": "x"}, {"inputs": [], "x": 1}, {"inputs": [], "id": 3}])
def test_fields_that_a_protocol_does_not_have_are_an_error(handler: SaliencyHandler, body: object) -> None:
    assert alone(handler, (PREDICT, {"body": body}))[1] == 400


@pytest.mark.parametrize("field", ["instances", "inputs"])
def test_an_accept_header_without_json_is_an_error_of_the_whole_request(handler: SaliencyHandler, field: str) -> None:
    value, status = alone(handler, ({**EXPLAIN, "Accept": "image/png"}, {"body": {field: [{"data": text(1)}]}}))
    assert (status, value["type"]) == (406, "NotAcceptableException")


def test_a_forged_path_header_on_these_routes_is_ignored(handler: SaliencyHandler) -> None:
    row = v1(EXPLAIN, {"data": text(1)})
    forged = ({**EXPLAIN, "url_path": "target=3", "describe": "True"}, row[1])
    assert alone(handler, forged) == alone(handler, row)


def test_each_request_in_a_batch_of_all_protocols_is_answered_as_if_alone(handler: SaliencyHandler) -> None:
    rows: list[Row] = [
        v1(EXPLAIN, {"data": text(1), "method": "guided_backprop"}, {"data": "?"}),
        ({**EXPLAIN, "url_path": ""}, {"data": picture(2), "target": b"top3"}),
        v2(PREDICT, "BYTES", [1], [text(3)]),
        ({"describe": "True"}, {}),
        v2(EXPLAIN, "UINT8", [1, *pixels(4).shape], pixels(4).tolist(), parameters={"method": "smooth_grad"}),
        ({}, {"data": picture(5), "explain": b"true"}),  # gRPC has no headers
    ]
    bodies, context = ask(handler, *rows)
    for row, body, status in zip(rows, bodies, context.statuses, strict=True):
        value, code = alone(handler, row)
        assert (status, list(json.loads(body))) == (code, list(value))
        close(json.loads(body), value)


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/octet-stream"])
def test_json_without_its_content_type_is_read(handler: SaliencyHandler, content_type: str) -> None:
    headers = {**EXPLAIN, "url_path": "", "Content-Type": content_type}
    for body in ({"data": text(1), "target": "dog"}, {"instances": [{"data": text(1)}]}, [{"data": text(1)}]):
        raw = json.dumps(body, indent=1).encode()
        assert alone(handler, (headers, {"body": raw})) == alone(handler, ({**EXPLAIN, "url_path": ""}, {"body": body}))
