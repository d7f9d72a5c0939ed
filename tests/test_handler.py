"""The handler called as by TorchServe: with the requests of a batch and a context."""

from __future__ import annotations

import base64
import gc
import inspect
import io
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import saliency_handler
from saliency_handler import SaliencyHandler
from tests.networks import Modules, classifier, made
from tests.test_explainer import picture
from torchserve_saliency.engine.metrics import BatchMetrics
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.methods import METHODS
from torchserve_saliency.methods.activation.attention import ATTENTION_METHODS
from torchserve_saliency.protocols.dispatch import read_call
from torchserve_saliency.requests.message import Message
from torchserve_saliency.requests.query import read_query


class Context:
    """The part of ts.context.Context that the handler uses."""

    def __init__(self, headers: list[Mapping[str, Any]]) -> None:
        self.headers = headers
        self.statuses = [0] * len(headers)
        self.sent: list[dict[str, str]] = [{} for _ in headers]

    def get_all_request_header(self, index: int) -> Mapping[str, Any]:
        return self.headers[index]

    def get_request_id(self, index: int) -> str:
        return f"request {index}"

    def set_response_status(self, code: int, phrase: str, index: int) -> None:
        assert phrase == ""
        self.statuses[index] = code

    def set_response_content_type(self, index: int, value: str) -> None:
        self.sent[index]["content-type"] = value

    def set_response_header(self, index: int, name: str, value: str) -> None:
        self.sent[index][name] = value


EXPLAIN = {"explain": "True", "url_path": ""}
PREDICT = {"explain": "False", "url_path": ""}


@pytest.fixture
def handler() -> SaliencyHandler:
    handler = SaliencyHandler()
    handler.explainer = Explainer(classifier(made(Modules)))
    return handler


def ask(handler: SaliencyHandler, *requests: tuple[Mapping[str, Any], dict[str, Any]]) -> tuple[list[bytes], Context]:
    context = Context([headers for headers, _ in requests])
    return handler.handle([fields for _, fields in requests], context), context


def test_predictions_are_a_dictionary_and_explanations_the_documented_body(handler: SaliencyHandler) -> None:
    bodies, context = ask(handler, (PREDICT, {"body": picture(1)}), (EXPLAIN, {"data": picture(1), "target": b"top2"}))
    assert context.statuses == [200, 200]
    assert [sent["content-type"] for sent in context.sent] == ["application/json"] * 2
    classes, body = json.loads(bodies[0]), json.loads(bodies[1])
    assert set(classes) == {"cat", "dog", "crane (2)", "apple pie", "crane (4)"}
    assert list(classes.values()) == pytest.approx([p["probability"] for p in body["predictions"]], rel=1e-5)
    assert list(body) == ["model", "predictions", "explanations", "input"]
    assert [e["target"]["index"] for e in body["explanations"]] == [p["index"] for p in body["predictions"][:2]]
    saliency = body["explanations"][0]["saliency"]
    assert np.array(Image.open(io.BytesIO(base64.b64decode(saliency["data"])))).shape == (16, 16)


def test_each_request_of_a_batch_has_its_own_answer(handler: SaliencyHandler) -> None:
    requests = [
        (EXPLAIN, {"data": picture(1), "method": b"guided_backprop"}),
        (EXPLAIN, {"data": b"broken"}),
        ({**EXPLAIN, "ACCEPT": "image/png"}, {"data": picture(2)}),
        ({**EXPLAIN, "accept": "application/x-npy", "url_path": "reduce=none"}, {"body": picture(3)}),
        (PREDICT, {"data": picture(4), "target": b"1"}),
        ({**PREDICT, "url_path": "explain=true"}, {"body": picture(4)}),
    ]
    bodies, context = ask(handler, *requests)
    assert context.statuses == [200, 415, 200, 200, 400, 200]
    assert json.loads(bodies[1])["code"] == 415
    assert Image.open(io.BytesIO(bodies[2])).size == (16, 16)
    assert np.load(io.BytesIO(bodies[3])).shape == (1, 3, 16, 16)
    assert json.loads(context.sent[3]["Saliency-Metadata"])["explanations"][0]["method"] == "gradient"
    assert json.loads(bodies[4])["option"] == "target"
    assert "explanations" in json.loads(bodies[5])
    for request, body in zip(requests, bodies, strict=True):
        (alone,), _ = ask(handler, request)
        assert len(alone) == pytest.approx(len(body), rel=0.02)


def test_a_clients_headers_do_not_change_the_route(handler: SaliencyHandler) -> None:
    forged = {**PREDICT, "Explain": "True", "describe": "True", "Url_Path": "target=99"}
    (body,), context = ask(handler, (forged, {"body": picture(1)}))
    assert context.statuses == [200]
    assert "cat" in json.loads(body)


def test_the_describe_route_returns_the_models_methods_and_parameters(handler: SaliencyHandler) -> None:
    bodies, context = ask(handler, ({"describe": "True"}, {}), (PREDICT, {"body": picture(1)}))
    described = json.loads(bodies[0])
    assert (described["labels"], set(described["methods"])) == (5, METHODS.keys() - ATTENTION_METHODS.keys())
    assert described["methods"]["smooth_grad"]["parameters"]["samples"]["maximum"] > 25
    assert described["methods"]["grad_cam"]["parameters"]["layer"]["default"] == "relu"
    assert described["layers"] == ["first", "second", "relu"]
    assert {"input", "limits", "self_check"} <= set(described)
    assert "cat" in json.loads(bodies[1])
    assert context.statuses == [200, 200]


def test_an_unexpected_exception_is_500_without_a_trace_and_does_not_affect_other_requests(
    handler: SaliencyHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = read_query

    def failing(message: Any, model: Any) -> Any:
        if "target" in message.fields:
            raise ZeroDivisionError("/secret/path")
        return read(message, model)

    monkeypatch.setattr("torchserve_saliency.explainer.read_query", failing)
    bodies, context = ask(handler, (EXPLAIN, {"data": picture(1), "target": b"1"}), (EXPLAIN, {"data": picture(1)}))
    assert context.statuses == [500, 200]
    assert b"secret" not in bodies[0]
    assert b"ZeroDivision" not in bodies[0]


def test_the_handler_file_defines_one_class_and_no_entry_point() -> None:
    members = inspect.getmembers(saliency_handler, inspect.isclass)
    classes = [member for _, member in members if member.__module__ == "saliency_handler"]
    assert classes == [SaliencyHandler]
    assert not hasattr(saliency_handler, "handle")


@pytest.mark.parametrize("options", [{}, {"target": b"1", "against": b"1"}, {"target": b"dgo"}])
def test_no_tensor_of_a_request_is_kept_after_its_answer(handler: SaliencyHandler, options: dict[str, Any]) -> None:
    ask(handler, (EXPLAIN, {"data": picture(1)}))
    gc.collect()
    gc.disable()
    try:
        before = tensors()
        ask(handler, (EXPLAIN, {"data": picture(1), **options}))
        assert tensors() == before
    finally:
        gc.enable()


def tensors() -> int:
    """Return the number of live tensors."""
    return sum(isinstance(one, torch.Tensor) for one in gc.get_objects())


def test_a_batch_past_its_deadline_is_not_encoded(handler: SaliencyHandler) -> None:
    calls = [read_call(Message({"data": data}), handler.explainer.classifier) for data in (picture(1), b"no picture")]
    run = handler.inference(handler.preprocess(calls), math.inf, BatchMetrics())
    run.deadline = -1e9
    response, failed = handler.postprocess(run, calls)
    assert (failed.status, failed.encoding_errors) == (415, ())
    assert (response.status, response.kind) == (503, "DeadlineException")
    assert response.encoding_errors == ((503, "DeadlineException"),)
