"""KServe's protocols as the handler reads and answers them, in mixed batches."""

from __future__ import annotations

import base64
import io
import json
import tracemalloc
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from PIL import Image

from saliency.explainer import Explainer
from saliency.image import decode
from saliency.protocols.kserve_v1 import ERROR_BYTES
from saliency.unpacked import Limits
from saliency_handler import SaliencyHandler
from tests.networks import SIZE, Modules, classifier, made
from tests.test_explainer import picture
from tests.test_handler import ask

# what the frontend says of KServe's routes: it writes no `url_path` there
EXPLAIN = {"explain": "True"}
PREDICT = {"explain": "False"}
Row = tuple[Mapping[str, Any], dict[str, Any]]


@pytest.fixture
def handler() -> SaliencyHandler:
    return serving(Limits())


def serving(limits: Limits) -> SaliencyHandler:
    handler = SaliencyHandler()
    handler.explainer = Explainer(classifier(made(Modules), limits=limits))
    return handler


def text(seed: int) -> str:
    return base64.b64encode(picture(seed)).decode()


def pixels(seed: int) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(picture(seed))).convert("RGB"))


def v1(headers: Mapping[str, Any], *instances: object) -> Row:
    return headers, {"body": {"instances": list(instances)}}


def v2(headers: Mapping[str, Any], datatype: str, shape: list[int], data: object, **fields: Any) -> Row:
    tensor = {"name": "x", "shape": shape, "datatype": datatype, "data": data}
    return headers, {"body": {"inputs": [tensor], **fields}}


def alone(handler: SaliencyHandler, row: Row) -> tuple[dict[str, Any], int]:
    (body,), context = ask(handler, row)
    assert context.sent[0]["content-type"] == "application/json"
    return json.loads(body), context.statuses[0]


def outputs(said: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return the tensors of an answer, each in its shape."""
    return {one["name"]: np.array(one["data"]).reshape(one["shape"]) for one in said["outputs"]}


def close(one: object, other: object) -> None:
    """Hold two JSON values to be the same but for the last digits of numbers, and pictures but for two levels."""
    if isinstance(one, dict) and isinstance(other, dict):
        assert one.keys() == other.keys()
        for name in one.keys() - {"data"} if "encoding" in one else one:
            close(one[name], other[name])
        if "encoding" in one:
            levels, others = (np.asarray(Image.open(io.BytesIO(base64.b64decode(p["data"])))) for p in (one, other))
            np.testing.assert_allclose(levels.astype(int), others.astype(int), atol=2)
    elif isinstance(one, list) and isinstance(other, list):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            close(a, b)
    elif isinstance(one, float):
        assert one == pytest.approx(other, rel=1e-3, abs=1e-6)
    elif isinstance(one, str) and isinstance(other, str) and one.startswith("{"):
        close(json.loads(one), json.loads(other))
    else:
        assert one == other


def test_every_instance_is_answered_by_its_own_options(handler: SaliencyHandler) -> None:
    asked = [{"data": text(1), "target": "dog"}, {"data": {"b64": text(2)}, "method": "grad_cam", "render": "overlay"}]
    said, status = alone(handler, v1(EXPLAIN, *asked))
    assert (status, list(said)) == (200, ["explanations"])
    for entry, options in zip(said["explanations"], asked, strict=True):
        close(entry, alone(handler, (EXPLAIN, {"body": options}))[0])


def test_predictions_of_instances_are_those_of_the_plain_route(handler: SaliencyHandler) -> None:
    said, status = alone(handler, v1(PREDICT, {"data": text(1)}, {"data": text(2), "explain": True, "top_k": 2}))
    assert (status, list(said)) == (200, ["predictions"])
    assert said["predictions"][0] == alone(handler, (PREDICT, {"body": picture(1)}))[0]
    assert len(said["predictions"][1]["predictions"]) == 2
    assert said["predictions"][1]["explanations"][0]["method"] == "gradient"


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
def test_an_instance_that_fails_is_its_error_object_and_harms_no_other(handler: SaliencyHandler, name: str) -> None:
    wrong, code = WRONG_INSTANCES[name]
    said, status = alone(handler, v1(EXPLAIN, {"data": text(1)}, wrong, {"data": text(2)}))
    good, error, other = said["explanations"]
    assert (status, error["code"]) == (200, code)
    close([good, other], [alone(handler, (EXPLAIN, {"body": {"data": text(i)}}))[0] for i in (1, 2)])


def test_if_all_instances_fail_the_request_has_the_first_ones_status(handler: SaliencyHandler) -> None:
    said, status = alone(handler, v1(EXPLAIN, {"data": text(1), "target": "dgo"}, {}))
    assert status == 422
    assert [entry["code"] for entry in said["explanations"]] == [422, 400]


def test_an_entry_that_does_not_fit_the_answer_is_refused_and_the_others_are_sent() -> None:
    small, large = {"data": text(1)}, {"data": text(1), "target": "top5", "render": "side_by_side"}
    plain = serving(Limits())
    size = len(ask(plain, v1(EXPLAIN, small, small))[0][0]) + 3 * ERROR_BYTES + 100
    handler = serving(Limits(max_response_bytes=size))
    (body,), context = ask(handler, v1(EXPLAIN, small, large, small))
    assert [entry.get("code", 200) for entry in json.loads(body)["explanations"]] == [200, 413, 200]
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
def test_an_instance_holds_no_body_of_a_request(handler: SaliencyHandler, form: str) -> None:
    said, status = alone(handler, v1(EXPLAIN, {"body": {"data": text(1), "format": form}}, {"body": text(1)}))
    assert (status, said["explanations"][0]["code"]) == (200, 400)
    close(said["explanations"][1], alone(handler, (EXPLAIN, {"body": {"data": text(1)}}))[0])


@pytest.mark.parametrize("content_type", ["application/json", "application/cloudevents+json"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_json_that_was_not_parsed_on_the_way_is_told_as_well(
    handler: SaliencyHandler, content_type: str, mark: bytes
) -> None:
    headers, fields = v1(EXPLAIN, {"data": text(1)})
    raw = {"body": bytearray(mark + json.dumps(fields["body"]).encode())}
    assert alone(handler, ({**headers, "Content-Type": content_type}, raw)) == alone(handler, (headers, fields))


def test_the_pictures_of_a_request_share_its_limits() -> None:
    handler = serving(Limits(max_forwards=20, max_pixels=2 * 40 * 24))
    ig = {"method": "integrated_gradients", "steps": 9}
    assert alone(handler, v2(EXPLAIN, "BYTES", [1], [text(1)], parameters=ig))[1] == 200
    said, status = alone(handler, v2(EXPLAIN, "BYTES", [3], [text(1)] * 3, parameters=ig))
    assert (status, "max_forwards" in said["message"]) == (400, True)
    said, status = alone(handler, v1(EXPLAIN, *[{"data": text(1), **ig}] * 3))
    assert (status, "max_forwards" in said["explanations"][0]["message"]) == (400, True)
    image = pixels(1)
    assert image.shape == (24, 40, 3)
    for count, expected in ((2, 200), (3, 413)):
        assert alone(handler, v2(PREDICT, "BYTES", [count], [text(1)] * count))[1] == expected
        assert alone(handler, v2(PREDICT, "UINT8", [count, *image.shape], [image.tolist()] * count))[1] == expected
    assert alone(handler, v1(PREDICT, {"data": text(1)}, {"data": text(1)}, {}))[1] == 413


@pytest.mark.parametrize("instances", [[], {}, None, "x", 3, [{}] * 33])
def test_what_is_no_list_of_a_few_instances_is_refused(handler: SaliencyHandler, instances: object) -> None:
    said, status = alone(handler, (EXPLAIN, {"body": {"instances": instances}}))
    assert (status, said["option"]) == (400, "instances")


@pytest.mark.parametrize("body", [{"instances": [{}], "data": "x"}, {"inputs": [], "x": 1}, {"inputs": [], "id": 3}])
def test_fields_that_a_protocol_has_not_are_refused(handler: SaliencyHandler, body: object) -> None:
    assert alone(handler, (PREDICT, {"body": body}))[1] == 400


@pytest.mark.parametrize("field", ["instances", "inputs"])
def test_an_accept_without_json_is_refused_for_the_whole(handler: SaliencyHandler, field: str) -> None:
    said, status = alone(handler, ({**EXPLAIN, "Accept": "image/png"}, {"body": {field: [{"data": text(1)}]}}))
    assert (status, said["type"]) == (406, "NotAcceptableException")


def test_bytes_are_pictures_and_the_answer_their_predictions(handler: SaliencyHandler) -> None:
    said, status = alone(handler, v2(PREDICT, "BYTES", [2], [text(1), text(2)], id="a-7", parameters={"top_k": 3}))
    found = outputs(said)
    assert (status, said["id"], said["model_name"], said["model_version"]) == (200, "a-7", "net", "1.0")
    assert {name: tensor.shape for name, tensor in found.items()} == dict.fromkeys(
        ("labels", "indices", "probabilities", "logits"), (2, 3)
    )
    for row in range(2):
        plain, _ = alone(handler, (PREDICT, {"body": {"data": text(row + 1), "top_k": 3}}))
        close(found["probabilities"][row].tolist(), list(plain.values()))


def test_maps_are_tensors_with_exact_values(handler: SaliencyHandler) -> None:
    options = {"target": "top2", "method": "integrated_gradients", "steps": 4, "reduce": "none"}
    said, _ = alone(handler, v2(EXPLAIN, "BYTES", [2, 1], [[text(1)], [text(2)]], parameters=options))
    found = outputs(said)
    assert found["saliency"].shape == (2, 2, 3, SIZE, SIZE)
    assert (said["parameters"]["method"], said["parameters"]["steps"]) == ("integrated_gradients", 4)
    assert "completeness_gap" in json.loads(found["findings"][0, 0])
    for row in range(2):
        (body,), _ = ask(handler, (EXPLAIN, {"body": {"data": text(row + 1), "format": "npy", **options}}))
        np.testing.assert_array_equal(found["saliency"][row].astype(np.float32), np.load(io.BytesIO(body)))


def test_pixels_are_preprocessed_here_and_an_input_is_taken_as_it_is(handler: SaliencyHandler) -> None:
    image = pixels(1)
    nested, _ = alone(handler, v2(EXPLAIN, "UINT8", [1, *image.shape], image[None].tolist()))
    flat, _ = alone(handler, v2(EXPLAIN, "UINT8", [1, *image.shape], image.ravel().tolist()))
    assert nested == flat
    by_file, _ = alone(handler, v2(EXPLAIN, "BYTES", [1], [text(1)]))
    assert outputs(nested)["saliency"].tolist() == outputs(by_file)["saliency"].tolist()
    x = decode(picture(1), handler.explainer.classifier.input, 1000).tensor
    ready, _ = alone(handler, v2(EXPLAIN, "FP32", [1, 3, SIZE, SIZE], x.ravel().tolist()))
    np.testing.assert_allclose(outputs(ready)["saliency"], outputs(nested)["saliency"], rtol=1e-5)


def test_pictures_are_drawn_where_render_asks(handler: SaliencyHandler) -> None:
    said, _ = alone(handler, v2(EXPLAIN, "BYTES", [1], [text(1)], parameters={"render": "overlay", "target": "top2"}))
    (files,) = outputs(said)["image"]
    assert [Image.open(io.BytesIO(base64.b64decode(file))).size for file in files] == [(SIZE, SIZE)] * 2


def test_the_outputs_that_are_named_are_the_ones_that_come(handler: SaliencyHandler) -> None:
    asked = [{"name": "saliency"}, {"name": "labels"}]
    said, _ = alone(handler, v2(EXPLAIN, "BYTES", [1], [text(1)], outputs=asked))
    assert {one["name"] for one in said["outputs"]} == {"saliency", "labels"}
    every, _ = alone(handler, v2(EXPLAIN, "BYTES", [1], [text(1)]))
    assert alone(handler, v2(EXPLAIN, "BYTES", [1], [text(1)], outputs=[]))[0] == every


OUTPUT = {"name": "labels", "parameters": {"binary_data": False}}
WRONG_TENSORS: Mapping[str, tuple[Row, int]] = {
    "no data": (v2(EXPLAIN, "BYTES", [1], None), 400),
    "fewer data than the shape says": (v2(EXPLAIN, "BYTES", [2], [text(1)]), 400),
    "a datatype that is no picture's": (v2(EXPLAIN, "INT64", [1], [1]), 400),
    "no datatype": (v2(EXPLAIN, "", [1], [text(1)]), 400),
    "a shape of truths": (v2(EXPLAIN, "BYTES", [True], [text(1)]), 400),
    "a shape without end": (v2(EXPLAIN, "UINT8", [1, 1 << 30, 1 << 30, 3], []), 413),
    "no pictures": (v2(EXPLAIN, "BYTES", [0], []), 400),
    "too many pictures": (v2(EXPLAIN, "BYTES", [33], [text(1)] * 33), 400),
    "two channels": (v2(EXPLAIN, "UINT8", [1, 2, 2, 2], [0] * 8), 400),
    "a level above 255": (v2(EXPLAIN, "UINT8", [1, 1, 1, 3], [0, 0, 256]), 400),
    "a huge level": (v2(EXPLAIN, "UINT8", [1, 1, 1, 3], [0, 0, 1 << 70]), 400),
    "levels with fractions": (v2(EXPLAIN, "UINT8", [1, 1, 1, 3], [0, 0, 0.5]), 400),
    "levels of text": (v2(EXPLAIN, "UINT8", [1, 1, 1, 3], ["a", "b", "c"]), 400),
    "levels of several depths": (v2(EXPLAIN, "UINT8", [1, 1, 1, 3], [[0], 0, 0]), 400),
    "another size": (v2(EXPLAIN, "FP32", [1, 3, 2, 2], [0] * 12), 400),
    "infinity": (v2(EXPLAIN, "FP32", [1, 3, SIZE, SIZE], [float("inf")] * 768), 400),
    "beyond float32": (v2(EXPLAIN, "FP32", [1, 3, SIZE, SIZE], [1e39] * 768), 400),
    "no picture": (v2(EXPLAIN, "BYTES", [2], [text(1), base64.b64encode(b"x").decode()]), 415),
    "an unknown label": (v2(EXPLAIN, "BYTES", [1], [text(1)], parameters={"target": "dgo"}), 422),
    "binary data": (v2(EXPLAIN, "BYTES", [1], [text(1)], parameters={"binary_data_output": "yes"}), 400),
    "an output in no known form": (
        v2(EXPLAIN, "BYTES", [1], [text(1)], outputs=[{"name": "labels", "parameters": {"x": 1}}]),
        400,
    ),
    "data among the parameters": (v2(EXPLAIN, "BYTES", [1], [text(1)], parameters={"data": text(2)}), 400),
    "parameters without names": (v2(EXPLAIN, "BYTES", [1], [text(1)], parameters=[1]), 400),
    "an unknown option": (v2(EXPLAIN, "BYTES", [1], [text(1)], parameters={"x": 1}), 400),
    "another format": (v2(EXPLAIN, "BYTES", [1], [text(1)], parameters={"format": "npy"}), 400),
    "an unknown output": (v2(EXPLAIN, "BYTES", [1], [text(1)], outputs=[{"name": "heat"}]), 400),
    "outputs without names": (v2(EXPLAIN, "BYTES", [1], [text(1)], outputs="saliency"), 400),
    "an output of explanations": (v2(PREDICT, "BYTES", [1], [text(1)], outputs=[{"name": "saliency"}]), 400),
    "a picture that is not drawn": (v2(EXPLAIN, "BYTES", [1], [text(1)], outputs=[{"name": "image"}]), 400),
    "binary data beside their outputs": (
        v2(EXPLAIN, "BYTES", [1], [text(1)], outputs=[OUTPUT], parameters={"binary_data_output": "yes"}),
        400,
    ),
    "values far beyond the model's": (v2(EXPLAIN, "FP32", [1, 3, SIZE, SIZE], [3e38] * 768), 400),
    "truths": (v2(EXPLAIN, "UINT8", [1, 1, 1, 3], [True, False, 1]), 400),
    "a number beyond all": (v2(EXPLAIN, "FP32", [1, 3, SIZE, SIZE], [10**400] * 768), 400),
    "pixels for a method that makes a picture": (
        v2(EXPLAIN, "UINT8", [1, 1, 1, 3], [1, 2, 3], parameters={"method": "activation_maximization", "target": 1}),
        400,
    ),
    "another model": (v2(EXPLAIN, "BYTES", [1], [text(1)], model_name="other"), 400),
    "two tensors": ((EXPLAIN, {"body": {"inputs": [{}, {}]}}), 400),
    "no tensor": ((EXPLAIN, {"body": {"inputs": [3]}}), 400),
}


@pytest.mark.parametrize("name", WRONG_TENSORS)
def test_a_wrong_tensor_is_refused_and_harms_no_neighbour(handler: SaliencyHandler, name: str) -> None:
    row, status = WRONG_TENSORS[name]
    good = v2(EXPLAIN, "BYTES", [1], [text(3)])
    bodies, context = ask(handler, good, row)
    assert context.statuses == [200, status]
    assert json.loads(bodies[1])["code"] == status
    close(json.loads(bodies[0]), alone(handler, good)[0])


def test_pictures_of_several_sizes_have_no_common_tensor_in_their_own_space(handler: SaliencyHandler) -> None:
    other = base64.b64encode(picture(2, (30, 20))).decode()
    asked = {"space": "original"}
    said, status = alone(handler, v2(EXPLAIN, "BYTES", [2], [text(1), other], parameters=asked))
    assert (status, said["option"]) == (400, "space")
    assert alone(handler, v2(EXPLAIN, "BYTES", [1], [other], parameters=asked))[1] == 200


def test_texts_for_numbers_take_no_memory(handler: SaliencyHandler) -> None:
    data = ["x" * 500_000, *["0"] * 499]  # as wide as the longest, they would be a gigabyte
    row = v2(EXPLAIN, "UINT8", [1, 10, 50, 1], data)
    tracemalloc.start()
    try:
        assert alone(handler, row)[1] == 400
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_maps_too_large_for_the_answer_are_refused() -> None:
    handler = serving(Limits(max_response_bytes=3000))
    said, status = alone(handler, v2(EXPLAIN, "BYTES", [2], [text(1), text(2)]))
    assert (status, said["type"]) == (413, "ResponseTooLargeException")


def test_a_path_that_a_client_writes_on_these_routes_changes_nothing(handler: SaliencyHandler) -> None:
    row = v1(EXPLAIN, {"data": text(1)})
    forged = ({**EXPLAIN, "url_path": "target=3", "describe": "True"}, row[1])
    assert alone(handler, forged) == alone(handler, row)


def test_a_batch_of_all_protocols_answers_each_as_alone(handler: SaliencyHandler) -> None:
    rows: list[Row] = [
        v1(EXPLAIN, {"data": text(1), "method": "guided_backprop"}, {"data": "?"}),
        ({**EXPLAIN, "url_path": ""}, {"data": picture(2), "target": b"top3"}),
        v2(PREDICT, "BYTES", [1], [text(3)]),
        ({"describe": "True"}, {}),
        v2(EXPLAIN, "UINT8", [1, *pixels(4).shape], pixels(4).tolist(), parameters={"method": "smooth_grad"}),
        ({}, {"data": picture(5), "explain": b"true"}),  # gRPC carries no headers
    ]
    bodies, context = ask(handler, *rows)
    for row, body, status in zip(rows, bodies, context.statuses, strict=True):
        said, code = alone(handler, row)
        assert (status, list(json.loads(body))) == (code, list(said))
        close(json.loads(body), said)
