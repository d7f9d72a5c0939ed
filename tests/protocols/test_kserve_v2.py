"""The Open Inference Protocol in the handler: input tensors and output tensors."""

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

from saliency_handler import SaliencyHandler
from tests.kserving import EXPLAIN, PREDICT, Row, alone, close, handler, outputs, pixels, serving, text, v2
from tests.networks import SIZE
from tests.test_explainer import picture
from tests.test_handler import ask
from torchserve_saliency.images.preprocessing import decode
from torchserve_saliency.model.archive import Limits

__all__ = ["handler"]


def test_a_tensor_of_bytes_is_answered_with_predictions(handler: SaliencyHandler) -> None:
    value, status = alone(handler, v2(PREDICT, "BYTES", [2], [text(1), text(2)], id="a-7", parameters={"top_k": 3}))
    found = outputs(value)
    assert (status, value["id"], value["model_name"], value["model_version"]) == (200, "a-7", "net", "1.0")
    assert {name: tensor.shape for name, tensor in found.items()} == dict.fromkeys(
        ("labels", "indices", "probabilities", "logits"), (2, 3)
    )
    for row in range(2):
        plain, _ = alone(handler, (PREDICT, {"body": {"data": text(row + 1), "top_k": 3}}))
        close(found["probabilities"][row].tolist(), list(plain.values()))


def test_maps_are_tensors_of_exact_values(handler: SaliencyHandler) -> None:
    options = {"target": "top2", "method": "integrated_gradients", "steps": 4, "reduce": "none"}
    value, _ = alone(handler, v2(EXPLAIN, "BYTES", [2, 1], [[text(1)], [text(2)]], parameters=options))
    found = outputs(value)
    assert found["saliency"].shape == (2, 2, 3, SIZE, SIZE)
    assert (value["parameters"]["method"], value["parameters"]["steps"]) == ("integrated_gradients", 4)
    assert "completeness_gap" in json.loads(found["findings"][0, 0])
    for row in range(2):
        (body,), _ = ask(handler, (EXPLAIN, {"body": {"data": text(row + 1), "format": "npy", **options}}))
        np.testing.assert_array_equal(found["saliency"][row].astype(np.float32), np.load(io.BytesIO(body)))


def test_pixels_are_preprocessed_and_a_preprocessed_input_is_not(handler: SaliencyHandler) -> None:
    image = pixels(1)
    nested, _ = alone(handler, v2(EXPLAIN, "UINT8", [1, *image.shape], image[None].tolist()))
    flat, _ = alone(handler, v2(EXPLAIN, "UINT8", [1, *image.shape], image.ravel().tolist()))
    assert nested == flat
    by_file, _ = alone(handler, v2(EXPLAIN, "BYTES", [1], [text(1)]))
    assert outputs(nested)["saliency"].tolist() == outputs(by_file)["saliency"].tolist()
    x = decode(picture(1), handler.explainer.classifier.input, 1000).tensor
    ready, _ = alone(handler, v2(EXPLAIN, "FP32", [1, 3, SIZE, SIZE], x.ravel().tolist()))
    np.testing.assert_allclose(outputs(ready)["saliency"], outputs(nested)["saliency"], rtol=1e-5)


def test_option_render_adds_drawn_pictures(handler: SaliencyHandler) -> None:
    value, _ = alone(handler, v2(EXPLAIN, "BYTES", [1], [text(1)], parameters={"render": "overlay", "target": "top2"}))
    (files,) = outputs(value)["image"]
    assert [Image.open(io.BytesIO(base64.b64decode(file))).size for file in files] == [(SIZE, SIZE)] * 2


def test_only_the_requested_outputs_are_sent(handler: SaliencyHandler) -> None:
    requested = [{"name": "saliency"}, {"name": "labels"}]
    value, _ = alone(handler, v2(EXPLAIN, "BYTES", [1], [text(1)], outputs=requested))
    assert {one["name"] for one in value["outputs"]} == {"saliency", "labels"}
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
def test_an_invalid_tensor_is_an_error_and_does_not_affect_other_requests(handler: SaliencyHandler, name: str) -> None:
    row, status = WRONG_TENSORS[name]
    good = v2(EXPLAIN, "BYTES", [1], [text(3)])
    bodies, context = ask(handler, good, row)
    assert context.statuses == [200, status]
    assert json.loads(bodies[1])["code"] == status
    close(json.loads(bodies[0]), alone(handler, good)[0])


def test_pictures_of_different_sizes_cannot_share_a_tensor_in_space_original(handler: SaliencyHandler) -> None:
    other = base64.b64encode(picture(2, (30, 20))).decode()
    requested = {"space": "original"}
    value, status = alone(handler, v2(EXPLAIN, "BYTES", [2], [text(1), other], parameters=requested))
    assert (status, value["option"]) == (400, "space")
    assert alone(handler, v2(EXPLAIN, "BYTES", [1], [other], parameters=requested))[1] == 200


def test_texts_instead_of_numbers_take_little_memory(handler: SaliencyHandler) -> None:
    data = ["x" * 500_000, *["0"] * 499]  # padded to the length of the longest, they would take a gigabyte
    row = v2(EXPLAIN, "UINT8", [1, 10, 50, 1], data)
    tracemalloc.start()
    try:
        assert alone(handler, row)[1] == 400
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_maps_that_are_too_large_for_the_answer_are_an_error() -> None:
    handler = serving(Limits(max_response_bytes=3000))
    value, status = alone(handler, v2(EXPLAIN, "BYTES", [2], [text(1), text(2)]))
    assert (status, value["type"]) == (413, "ResponseTooLargeException")


@pytest.mark.parametrize(
    ("shape", "data"),
    [
        ([-1], text(1)),
        ([-1], [text(1)]),
        ([1], text(1)),
        ([], text(1)),
        ([-1, 1], [[text(1)]]),
        ([1, -1], [text(1)]),
        ([1], [{"b64": text(1)}]),
    ],
)
def test_d6_a_single_text_is_read_as_in_torchserves_samples(
    handler: SaliencyHandler, shape: list[int], data: object
) -> None:
    for headers in (EXPLAIN, PREDICT):
        expected = alone(handler, v2(headers, "BYTES", [1], [text(1)]))
        assert expected[1] == 200
        assert alone(handler, v2(headers, "BYTES", shape, data)) == expected


def test_d6_several_texts_of_shape_minus_one_are_several_pictures(handler: SaliencyHandler) -> None:
    expected = alone(handler, v2(PREDICT, "BYTES", [2], [text(1), text(2)]))
    assert alone(handler, v2(PREDICT, "bytes", [-1], [text(1), text(2)])) == expected


@pytest.mark.parametrize("datatype", ["FP32", "UINT8"])
def test_d6_a_tensor_without_the_first_axis_is_one_picture(handler: SaliencyHandler, datatype: str) -> None:
    random = np.random.default_rng(0)
    values: np.ndarray = random.normal(size=(3, SIZE, SIZE)) if datatype == "FP32" else pixels(1)
    shape = list(values.shape)
    expected = alone(handler, v2(EXPLAIN, datatype, [1, *shape], values[None].tolist()))
    assert expected[1] == 200
    for given in (shape, [-1, *shape], [1, -1, *shape[1:]]):
        for data in (values.tolist(), values.ravel().tolist()):
            assert alone(handler, v2(EXPLAIN, datatype, given, data)) == expected


def test_d6_minus_one_counts_the_pictures_of_a_flat_list(handler: SaliencyHandler) -> None:
    values = np.random.default_rng(0).normal(size=(2, 3, SIZE, SIZE))
    expected = alone(handler, v2(PREDICT, "FP32", [2, 3, SIZE, SIZE], values.tolist()))
    assert alone(handler, v2(PREDICT, "FP32", [-1, 3, SIZE, SIZE], values.ravel().tolist())) == expected


@pytest.mark.parametrize("datatype", ["FP64", "FP16"])
def test_floats_of_another_size_are_read(handler: SaliencyHandler, datatype: str) -> None:
    values = np.random.default_rng(0).normal(size=(1, 3, SIZE, SIZE)).astype(np.float16).astype(float)
    expected = alone(handler, v2(PREDICT, "FP32", [1, 3, SIZE, SIZE], values.tolist()))
    assert expected[1] == 200
    assert alone(handler, v2(PREDICT, datatype, [1, 3, SIZE, SIZE], values.tolist())) == expected


@pytest.mark.parametrize("shape", [[-1], [1, -1]])
def test_the_bytes_of_a_file_are_read_as_a_picture(handler: SaliencyHandler, shape: list[int]) -> None:
    expected = alone(handler, v2(PREDICT, "BYTES", [1], [text(1)]))
    assert alone(handler, v2(PREDICT, "UINT8", shape, list(picture(1)))) == expected
    value, status = alone(handler, v2(PREDICT, "UINT8", shape, [1] * 500))
    assert status == 400
    assert "[N, H, W, C]" in value["message"]


@pytest.mark.parametrize("datatype", ["INT64", "STRING", None, 3])
def test_an_unknown_datatype_is_refused_with_those_that_are_taken(handler: SaliencyHandler, datatype: Any) -> None:
    value, status = alone(handler, v2(PREDICT, datatype, [1], [text(1)]))
    assert status == 400
    assert all(name in value["message"] for name in ("BYTES", "UINT8", "FP32"))


@pytest.mark.parametrize(
    ("datatype", "shape", "data"),
    [
        ("BYTES", [-1], []),
        ("BYTES", [-1], None),
        ("BYTES", [2], text(1)),
        ("BYTES", [-1, -1], [text(1)]),
        ("BYTES", [-2], [text(1)]),
        ("BYTES", [-1], [[text(1), text(2)]]),
        ("FP32", [-1, 3, SIZE, SIZE], [0.0] * 100),
        ("FP32", [SIZE, SIZE, 3], [0.0] * (3 * SIZE * SIZE)),
        ("FP32", [-1], [0.0] * (3 * SIZE * SIZE)),
        ("UINT8", [3, 24, 40], [0] * (3 * 24 * 40)),
        ("UINT8", [-1, 0, 3], [0]),
    ],
)
def test_d6_shapes_that_do_not_fit_are_refused(
    handler: SaliencyHandler, datatype: str, shape: list[int], data: object
) -> None:
    value, status = alone(handler, v2(PREDICT, datatype, shape, data))
    assert (status, value["option"]) == (400, "inputs")
