"""KServe's first protocol in the handler: instances in the request, one entry per instance in the answer."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest

from saliency_handler import SaliencyHandler
from tests.kserving import EXPLAIN, PREDICT, alone, close, handler, serving, text, v1
from tests.test_explainer import picture
from tests.test_handler import ask
from torchserve_saliency.errors import RequestError
from torchserve_saliency.model.archive import Limits
from torchserve_saliency.protocols.kserve_v1 import ERROR_BYTES, _short_error

__all__ = ["handler"]


def test_each_instance_has_its_own_options(handler: SaliencyHandler) -> None:
    sent = [{"data": text(1), "target": "dog"}, {"data": {"b64": text(2)}, "method": "grad_cam", "render": "overlay"}]
    value, status = alone(handler, v1(EXPLAIN, *sent))
    assert (status, list(value)) == (200, ["explanations"])
    for entry, options in zip(value["explanations"], sent, strict=True):
        close(entry, alone(handler, (EXPLAIN, {"body": options}))[0])


def test_predictions_of_instances_equal_those_of_the_predictions_route(handler: SaliencyHandler) -> None:
    value, status = alone(handler, v1(PREDICT, {"data": text(1)}, {"data": text(2), "explain": True, "top_k": 2}))
    assert (status, list(value)) == (200, ["predictions"])
    assert value["predictions"][0] == alone(handler, (PREDICT, {"body": picture(1)}))[0]
    assert len(value["predictions"][1]["predictions"]) == 2
    assert value["predictions"][1]["explanations"][0]["method"] == "gradient"


WRONG_INSTANCES: Mapping[str, tuple[object, int]] = {
    "no picture": ({"data": base64.b64encode(b"no picture").decode()}, 415),
    "no data": ({}, 400),
    "no object": ([1], 400),
    "an unknown option": ({"data": "", "colour": 1}, 400),
    "no base64": ({"data": "!"}, 400),
    "another format": ({"data": text(1), "format": "png"}, 400),
    "an unknown label": ({"data": text(1), "target": "dgo"}, 422),
    "instances in an instance": ({"instances": [{"data": text(1)}]}, 400),
}


@pytest.mark.parametrize("name", WRONG_INSTANCES)
def test_an_invalid_instance_is_an_error_object_and_does_not_affect_the_others(
    handler: SaliencyHandler, name: str
) -> None:
    wrong, code = WRONG_INSTANCES[name]
    value, status = alone(handler, v1(EXPLAIN, {"data": text(1)}, wrong, {"data": text(2)}))
    good, error, other = value["explanations"]
    assert (status, error["code"]) == (200, code)
    close([good, other], [alone(handler, (EXPLAIN, {"body": {"data": text(i)}}))[0] for i in (1, 2)])


def test_if_all_instances_fail_the_request_has_the_status_of_the_first(handler: SaliencyHandler) -> None:
    value, status = alone(handler, v1(EXPLAIN, {"data": text(1), "target": "dgo"}, {}))
    assert status == 422
    assert [entry["code"] for entry in value["explanations"]] == [422, 400]


def test_an_entry_that_is_too_large_is_an_error_and_the_others_are_sent() -> None:
    small, large = {"data": text(1)}, {"data": text(1), "target": "top5", "render": "side_by_side"}
    plain = serving(Limits())
    size = len(ask(plain, v1(EXPLAIN, small, small))[0][0]) + 3 * ERROR_BYTES + 100
    handler = serving(Limits(max_response_bytes=size))
    (body,), context = ask(handler, v1(EXPLAIN, small, large, small))
    entries = json.loads(body)["explanations"]
    assert [entry.get("code", 200) for entry in entries] == [200, 413, 200]
    assert "fewer targets" in entries[1]["message"]
    assert "or fewer instances" in entries[1]["message"]
    assert "jpeg" not in entries[1]["message"]  # an entry is always JSON
    assert context.statuses == [200]
    assert len(body) <= size


@pytest.mark.parametrize("limit", [2_000, 40_000, 60_000])
@pytest.mark.parametrize(
    ("headers", "others"), [(EXPLAIN, {"method": "zzz"}), (EXPLAIN, {"target": "é" * 900}), (PREDICT, {})]
)
def test_no_answer_is_longer_than_the_limit(limit: int, headers: Mapping[str, Any], others: Mapping[str, str]) -> None:
    handler = serving(Limits(max_response_bytes=limit))
    good = {"data": text(1)}
    (body,), context = ask(handler, v1(headers, good, *([{**good, **others}] * 31)))
    assert len(body) <= limit
    assert context.statuses == [413 if limit == 2_000 else 200]
    entries = json.loads(body).popitem()[1] if limit > 2_000 else []
    assert all(len(json.dumps(entry)) <= ERROR_BYTES + 100 for entry in entries[1:])


@pytest.mark.parametrize("form", ["png", "npy", "PNG"])
def test_the_field_body_of_an_instance_is_a_picture_and_not_a_request(handler: SaliencyHandler, form: str) -> None:
    value, status = alone(handler, v1(EXPLAIN, {"body": {"data": text(1), "format": form}}, {"body": text(1)}))
    assert (status, value["explanations"][0]["code"]) == (200, 400)
    close(value["explanations"][1], alone(handler, (EXPLAIN, {"body": {"data": text(1)}}))[0])


@pytest.mark.parametrize("instances", [[], {}, None, "x", 3, [{}] * 33])
def test_instances_must_be_a_short_list(handler: SaliencyHandler, instances: object) -> None:
    value, status = alone(handler, (EXPLAIN, {"body": {"instances": instances}}))
    assert (status, value["option"]) == (400, "instances")


def test_the_message_of_an_error_with_a_very_long_option_is_cut_completely() -> None:
    response = _short_error(RequestError(400, "BadOptionException", "no" * 900, "x" * 2_000))
    assert json.loads(response.body)["message"] == "…"


@pytest.mark.parametrize(
    "instance",
    [
        {"image": {"b64": text(1)}},
        {"b64": text(1)},
        {"image_bytes": {"b64": text(1)}},
        {"image": text(1)},
        {"data": f"data:image/png;base64,{text(1)}"},
        {"file": [text(1)]},
        text(1),
    ],
)
def test_d7_instances_of_other_servers_are_read(handler: SaliencyHandler, instance: object) -> None:
    for headers in (EXPLAIN, PREDICT):
        expected = alone(handler, v1(headers, {"data": text(1)}))
        assert expected[1] == 200
        assert alone(handler, v1(headers, instance)) == expected


def test_d7_a_list_of_requests_is_read_as_instances(handler: SaliencyHandler) -> None:
    sent = [{"b64": text(1)}, {"image": {"b64": text(2)}, "target": "dog"}]
    for headers in (EXPLAIN, {**EXPLAIN, "url_path": ""}):
        assert alone(handler, (headers, {"body": sent})) == alone(handler, v1(EXPLAIN, *sent))


def test_d7_an_instance_with_two_pictures_is_refused_alone(handler: SaliencyHandler) -> None:
    value, status = alone(handler, v1(EXPLAIN, {"image": text(1), "b64": text(2)}, {"b64": text(1)}))
    assert status == 200
    assert value["explanations"][0]["option"] == "data"
    assert value["explanations"][1]["explanations"][0]["method"] == "gradient"
