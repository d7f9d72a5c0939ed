"""A soak's clients: what they count as right, wrong or lost, and what is asked alone first."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import cast

import numpy as np
import pytest

from saliency.body import not_finite
from saliency.deadline import too_late
from saliency.errors import refused as refusal
from scripts.server import TorchServe
from scripts.soaking import asks
from scripts.soaking.load import Load, Result, UnfitError, alone
from scripts.wire import Reply
from tests.test_explainer import picture
from tests.test_soak_comparing import MAP, npy, reply, said


class Server:
    """Stands for a TorchServe that answers as a function says."""

    def __init__(self, answer: Callable[[str, bytes], Reply]) -> None:
        self.answer = answer

    def request(self, method: str, path: str, body: bytes, headers: object, timeout: float = 0) -> Reply:
        """Return the answer to a request."""
        return self.answer(path, body)


def served(answer: Callable[[str, bytes], Reply]) -> TorchServe:
    return cast("TorchServe", Server(answer))


ASK = asks.Ask("gradient", "/explanations/m", b"", {})


def asked(answer: Callable[[str, bytes], Reply]) -> list[Result]:
    """Return what came of a short load of a server, by clients that are told `{"cat": 0.5}` alone."""
    with Load(served(answer), [ASK], [ASK], {ASK: said({"cat": 0.5})}, 2) as load:
        deadline = time.monotonic() + 10
        while len(load.results) < 20 and time.monotonic() < deadline:
            time.sleep(0.01)
    return load.results


@pytest.mark.parametrize("body", [b'{"cat": 0.', b"", b"\xff\xfe"])
def test_clients_outlive_answers_that_cannot_be_read_and_count_them_as_wrong(body: bytes) -> None:
    results = asked(lambda path, _: reply(body))
    assert len(results) >= 20
    assert all(r.wrong.startswith("cannot be read: ") and not r.lost for r in results)


def test_clients_outlive_whatever_a_reply_raises() -> None:
    def broken(path: str, body: bytes) -> Reply:
        raise ValueError("a chunk without a length")

    results = asked(broken)
    assert len(results) >= 20
    assert all("a chunk without a length" in r.wrong and not r.lost for r in results)


def refused(status: int, kind: str, message: str) -> Reply:
    return reply(json.dumps({"code": status, "type": kind, "message": message}).encode(), status=status)


@pytest.mark.parametrize(
    "answer",
    [
        refused(507, "InternalServerException", "Worker died."),
        refused(500, "InternalServerException", "Worker scaled down."),
        refused(503, "ServiceUnavailableException", 'Model "m" has no worker to serve inference request.'),
        refused(404, "ModelNotFoundException", "Model not found: m"),
        refused(404, "ModelVersionNotFoundException", "Model version: 1.0 does not exist for model: m"),
    ],
)
def test_what_torchserve_says_without_a_worker_is_lost(answer: Reply) -> None:
    assert all(r.lost for r in asked(lambda path, body: answer)[:20])


@pytest.mark.parametrize(
    "answer",
    [
        reply(json.dumps(refusal(MemoryError(), "the forward pass").body()).encode(), status=507),
        reply(json.dumps(refusal(OSError("x"), "the encoding").body()).encode(), status=500),
        reply(json.dumps(too_late().body()).encode(), status=500),
        reply(json.dumps(not_finite("the saliency").body()).encode(), status=500),
        refused(503, "InternalServerException", "Prediction failed"),
        refused(507, "InternalServerException", "Out of resources"),
        reply(b'{"explanations": [{"code": 500}]}', status=500),
        reply(b"", status=503),
        reply(b"[]", status=500),
    ],
)
def test_what_the_handler_says_is_wrong_and_never_lost(answer: Reply) -> None:
    results = asked(lambda path, body: answer)
    assert all(r.wrong and not r.lost for r in results)


@pytest.mark.parametrize("status", [404, 500, 503])
def test_a_server_that_answers_wrong_alone_is_unfit(status: int) -> None:
    good = list(asks.good("m", [picture(1)]))
    with pytest.raises(UnfitError, match=f"predictions at /predictions/m with {status} for 200"):
        alone(served(lambda path, body: reply(b"{}", status=status)), good)


@pytest.mark.parametrize("answer", [reply(b""), reply(b'{"a": NaN}'), npy(MAP * np.nan), reply(b"x", "image/png")])
def test_a_server_whose_answers_alone_cannot_be_read_is_unfit(answer: Reply) -> None:
    with pytest.raises(UnfitError, match="gradient at /explanations/m with 200 and a body that is none: "):
        alone(served(lambda path, body: answer), [ASK])


def test_a_network_may_refuse_some_methods_and_not_most() -> None:
    good = list(asks.good("m", [picture(1)]))

    def without(*methods: bytes) -> TorchServe:
        return served(lambda path, body: reply(b"{}", status=422 if any(m in body for m in methods) else 200))

    found = alone(without(b"layer_cam", b"guided_backprop"), good)
    assert sorted({found[ask].status for ask in good}) == [200, 422]
    with pytest.raises(UnfitError, match="only 5 were answered with 200"):
        alone(without(*(b'name="method"',)), good)
    with pytest.raises(UnfitError, match="gradient at /explanations/m with 422 for 200"):
        alone(served(lambda path, body: reply(b"{}", status=422 if path == "/explanations/m" else 200)), good)


def test_a_hostile_request_has_a_status_of_its_own_alone() -> None:
    bad = asks.Ask("hostile", "/explanations/m", b"", {}, frozenset({400, 415}))
    answers = [reply(b"{}", status=status) for status in (400, 415)]
    assert all(alone(served(lambda path, body, a=a: a), [bad]) == {bad: a} for a in answers)  # type: ignore[misc]
    with pytest.raises(UnfitError, match="hostile at /explanations/m with 200 for 400, 415"):
        alone(served(lambda path, body: reply(b"{}")), [bad])


def test_no_answer_alone_is_unfit() -> None:
    def silent(path: str, body: bytes) -> Reply:
        raise ConnectionResetError("peer")

    with pytest.raises(UnfitError, match="gradient at /explanations/m got no answer"):
        alone(served(silent), [ASK])
