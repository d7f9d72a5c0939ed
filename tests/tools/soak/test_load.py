"""A soak's clients: right, wrong and lost answers, and the reference answers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import cast

import numpy as np
import pytest

from tests.test_explainer import picture
from tests.tools.soak.test_comparison import MAP, json_reply, npy, reply
from tools.soak import request_mix
from tools.soak.load import Load, Result, UnfitError, reference_replies
from torchserve_saliency.errors import to_request_error, too_late
from torchserve_saliency.responses.json_body import not_finite
from torchserve_saliency_cli.client.transport import Reply
from torchserve_saliency_cli.torchserve.server import TorchServe


class Server:
    """A fake TorchServe that answers by a function of path and body."""

    def __init__(self, answer: Callable[[str, bytes], Reply]) -> None:
        self.answer = answer

    def request(self, method: str, path: str, body: bytes, headers: object, timeout: float = 0) -> Reply:
        """Return the answer to a request."""
        return self.answer(path, body)


def fake_server(answer: Callable[[str, bytes], Reply]) -> TorchServe:
    return cast("TorchServe", Server(answer))


REQUEST = request_mix.Request("gradient", "/explanations/m", b"", {})


def results_of(answer: Callable[[str, bytes], Reply]) -> list[Result]:
    """Return the results of a short load on a fake server; the reference answer is `{"cat": 0.5}`."""
    with Load(fake_server(answer), [REQUEST], [REQUEST], {REQUEST: json_reply({"cat": 0.5})}, 2) as load:
        deadline = time.monotonic() + 10
        while len(load.results) < 20 and time.monotonic() < deadline:
            time.sleep(0.01)
    return load.results


@pytest.mark.parametrize("body", [b'{"cat": 0.', b"", b"\xff\xfe"])
def test_clients_count_answers_that_cannot_be_read_as_wrong_and_go_on(body: bytes) -> None:
    results = results_of(lambda path, _: reply(body))
    assert len(results) >= 20
    assert all(r.wrong.startswith("cannot be read: ") and not r.lost for r in results)


def test_clients_count_exceptions_as_wrong_and_go_on() -> None:
    def broken(path: str, body: bytes) -> Reply:
        raise ValueError("a chunk without a length")

    results = results_of(broken)
    assert len(results) >= 20
    assert all("a chunk without a length" in r.wrong and not r.lost for r in results)


def error_reply(status: int, kind: str, message: str) -> Reply:
    return reply(json.dumps({"code": status, "type": kind, "message": message}).encode(), status=status)


@pytest.mark.parametrize(
    "answer",
    [
        error_reply(507, "InternalServerException", "Worker died."),
        error_reply(500, "InternalServerException", "Worker scaled down."),
        error_reply(503, "ServiceUnavailableException", 'Model "m" has no worker to serve inference request.'),
        error_reply(404, "ModelNotFoundException", "Model not found: m"),
        error_reply(404, "ModelVersionNotFoundException", "Model version: 1.0 does not exist for model: m"),
    ],
)
def test_errors_of_torchserve_without_a_worker_are_lost_requests(answer: Reply) -> None:
    assert all(r.lost for r in results_of(lambda path, body: answer)[:20])


@pytest.mark.parametrize(
    "answer",
    [
        reply(json.dumps(to_request_error(MemoryError(), "the forward pass").body()).encode(), status=507),
        reply(json.dumps(to_request_error(OSError("x"), "the encoding").body()).encode(), status=500),
        reply(json.dumps(too_late().body()).encode(), status=503),
        reply(json.dumps(not_finite("the saliency").body()).encode(), status=500),
        error_reply(503, "InternalServerException", "Prediction failed"),
        error_reply(507, "InternalServerException", "Out of resources"),
        reply(b'{"explanations": [{"code": 500}]}', status=500),
        reply(b"", status=503),
        reply(b"[]", status=500),
    ],
)
def test_errors_of_the_handler_are_wrong_answers_and_not_lost_requests(answer: Reply) -> None:
    results = results_of(lambda path, body: answer)
    assert all(r.wrong and not r.lost for r in results)


@pytest.mark.parametrize("status", [404, 500, 503])
def test_a_server_with_wrong_reference_answers_is_unfit(status: int) -> None:
    valid = list(request_mix.valid_requests("m", [picture(1)]))
    with pytest.raises(UnfitError, match=f"predictions at /predictions/m with {status}, expected 200"):
        reference_replies(fake_server(lambda path, body: reply(b"{}", status=status)), valid)


@pytest.mark.parametrize("answer", [reply(b""), reply(b'{"a": NaN}'), npy(MAP * np.nan), reply(b"x", "image/png")])
def test_a_server_whose_reference_answers_cannot_be_read_is_unfit(answer: Reply) -> None:
    with pytest.raises(UnfitError, match="gradient at /explanations/m with 200 and a body that is invalid: "):
        reference_replies(fake_server(lambda path, body: answer), [REQUEST])


def test_a_network_may_lack_some_methods_but_not_most() -> None:
    valid = list(request_mix.valid_requests("m", [picture(1)]))

    def without(*methods: bytes) -> TorchServe:
        return fake_server(lambda path, body: reply(b"{}", status=422 if any(m in body for m in methods) else 200))

    replies = reference_replies(without(b"layer_cam", b"guided_backprop"), valid)
    assert sorted({replies[request].status for request in valid}) == [200, 422]
    with pytest.raises(UnfitError, match="only 5 of 11 valid requests were answered with 200"):
        reference_replies(without(*(b'name="method"',)), valid)
    with pytest.raises(UnfitError, match="gradient at /explanations/m with 422, expected 200"):
        reference_replies(
            fake_server(lambda path, body: reply(b"{}", status=422 if path == "/explanations/m" else 200)), valid
        )


def test_the_reference_answer_to_a_hostile_request_has_an_allowed_status() -> None:
    bad = request_mix.Request("hostile", "/explanations/m", b"", {}, frozenset({400, 415}))
    answers = [reply(b"{}", status=status) for status in (400, 415)]
    assert all(reference_replies(fake_server(lambda path, body, a=a: a), [bad]) == {bad: a} for a in answers)  # type: ignore[misc]
    with pytest.raises(UnfitError, match="hostile at /explanations/m with 200, expected 400, 415"):
        reference_replies(fake_server(lambda path, body: reply(b"{}")), [bad])


def test_a_server_without_reference_answers_is_unfit() -> None:
    def silent(path: str, body: bytes) -> Reply:
        raise ConnectionResetError("peer")

    with pytest.raises(UnfitError, match="gradient at /explanations/m got no answer"):
        reference_replies(fake_server(silent), [REQUEST])
