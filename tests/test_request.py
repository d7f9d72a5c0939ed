"""Messages as TorchServe hands them over, to queries or the refusal that their sender gets."""

from __future__ import annotations

import base64
import io
import json
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from saliency.errors import RequestError
from saliency.message import Message
from saliency.methods.cams import Cam
from saliency.model import Classifier
from saliency.options import OPTIONS, PARAMETERS
from saliency.request import Query, read_query
from saliency.targets import Rank
from saliency.unpacked import Limits
from tests.networks import Flat, Modules, Tokens, classifier, made
from tests.test_schema import ANYTHING


@cache
def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (20, 30), (200, 30, 60)).save(buffer, "PNG")
    return buffer.getvalue()


@cache
def model() -> Classifier:
    return classifier(made(Modules))


def b64() -> str:
    return base64.b64encode(png()).decode()


def read(fields: dict[str, Any], explain: bool = True, **said: Any) -> Query:
    return read_query(Message(fields, explain=explain, **said), model())


def refusal(fields: dict[str, Any], explain: bool = True, of: Classifier | None = None, **said: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        read_query(Message(fields, explain=explain, **said), of or model())
    return caught.value


FORMS: list[tuple[dict[str, Any], str]] = [
    ({"data": bytearray(png()), "target": bytearray(b"dog"), "top_k": bytearray(b"3")}, ""),
    ({"body": bytearray(png()), "target": "dog", "top_k": "3"}, ""),
    ({"body": {"data": b64(), "target": "dog", "top_k": 3}}, ""),
    ({"body": {"data": {"b64": b64()}, "target": 1, "top_k": 3}}, ""),
    ({"body": {"body": "data:image/png;base64," + b64(), "target": ["1"], "top_k": "3"}}, ""),
    ({"body": bytearray(png())}, "target=dog&top_k=3"),
    ({"data": bytearray(png()), "target": bytearray(b'["dog"]')}, "top_k=3"),
]


@pytest.mark.parametrize(("fields", "path"), FORMS)
def test_every_way_to_ask_gives_the_same_query(fields: dict[str, Any], path: str) -> None:
    query = read(fields, path_options=path)
    assert query.objective is not None
    assert query.objective.targets == (1,)
    assert query.options.top_k == 3
    assert query.picture.original.size == (20, 30)


def test_a_plus_in_the_path_is_a_space() -> None:
    query = read({"body": png()}, path_options="target=apple+pie")
    assert query.objective is not None
    assert query.objective.targets == (3,)


def test_a_prediction_has_no_objective_and_explain_gives_it_one() -> None:
    assert read({"data": png()}, explain=False).objective is None
    query = read({"data": png(), "explain": b"true", "method": b"grad_cam"}, explain=False)
    assert query.objective is not None
    assert query.objective.targets == (Rank(0),)
    assert query.parameters == Cam("relu")


@pytest.mark.parametrize(
    ("fields", "said", "status", "option"),
    [
        ({}, {}, 400, "data"),
        ({"target": b"1"}, {}, 400, "data"),
        ({"data": png(), "body": png()}, {}, 400, "data"),
        ({"data": b""}, {}, 400, "data"),
        ({"body": bytearray()}, {}, 400, "data"),
        ({"body": b'{"data": '}, {"content_type": "application/json"}, 400, None),
        ({"body": b"[" * 100_000}, {"content_type": "application/json"}, 400, None),
        ({"body": [1]}, {}, 400, None),
        ({"body": 3}, {}, 400, None),
        ({"body": {"data": "not base64!"}}, {}, 400, "data"),
        ({"body": {"data": 7}}, {}, 400, "data"),
        ({"body": {"data": None}}, {}, 400, "data"),
        ({"body": {"data": {"url": "x"}}}, {}, 400, "data"),
        ({"data": png(), "target": b"\xff\xfe"}, {}, 400, "target"),
        ({"data": png(), "target": b"[1,"}, {}, 400, "target"),
        ({"data": png(), "trget": b"1"}, {}, 400, "trget"),
        ({"data": png(), "steps": b"1"}, {}, 400, "steps"),
        ({"data": png(), "target": b"1"}, {"path_options": "target=2"}, 400, "target"),
        ({"body": png()}, {"path_options": "target=2&target=3"}, 400, "target"),
        ({"body": png()}, {"path_options": "data=2"}, 400, "data"),
        ({"body": png()}, {"path_options": "nonsense"}, 400, None),
        ({"data": png(), "explain": b"false"}, {}, 400, "explain"),
        ({"data": png()}, {"accept": "text/html"}, 406, None),
        ({"data": b"GIF but not really"}, {}, 415, None),
        ({"data": png()[:60]}, {}, 415, None),
        ({"data": png(), "target": b"5"}, {}, 422, "target"),
        ({"data": png(), "target": b"-1"}, {}, 422, "target"),
        ({"data": png(), "target": b"dgo"}, {}, 422, "target"),
        ({"data": png(), "target": b"crane"}, {}, 422, "target"),
        ({"data": png(), "against": b"99"}, {}, 422, "against"),
        ({"data": png(), "method": b"grad_cam", "layer": b"secnd"}, {}, 422, "layer"),
        ({"data": png(), "method": b"grad_cam", "layer": b"head"}, {}, 422, "layer"),
    ],
)
def test_what_is_wrong_has_its_status_and_names_its_option(
    fields: dict[str, Any], said: dict[str, Any], status: int, option: str | None
) -> None:
    error = refusal(fields, **said)
    assert (error.status, error.option) == (status, option)
    assert error.message.isprintable()


def test_near_matches_and_candidates_are_named() -> None:
    assert "'dog'" in refusal({"data": png(), "target": b"dogg"}).message
    ambiguous = refusal({"data": png(), "target": b"crane"}).message
    assert "crane (2)" in ambiguous
    assert "crane (4)" in ambiguous
    assert "second" in refusal({"data": png(), "method": b"grad_cam", "layer": b"secnd"}).message


def test_an_option_without_effect_on_a_prediction_is_refused() -> None:
    error = refusal({"data": png(), "method": b"gradient"}, explain=False)
    assert (error.status, error.option) == (400, "method")
    assert read({"data": png(), "top_k": b"2"}, explain=False).options.top_k == 2
    assert refusal({"data": png()}, explain=False, accept="image/png").status == 406


def test_the_method_that_a_network_cannot_take_is_refused_with_why() -> None:
    flat, tokens = classifier(made(Flat)), classifier(made(Tokens))
    assert "spatial extent" in refusal({"data": png(), "method": b"grad_cam"}, of=flat).message
    for method in (b"guided_backprop", b"deconvolution"):
        error = refusal({"data": png(), "method": method}, of=tokens)
        assert (error.status, error.option) == (422, "method")
        assert "ReLU" in error.message
    for method in (b"attention_rollout", b"generic_attention"):
        error = refusal({"data": png(), "method": method}, of=flat)
        assert (error.status, error.option) == (422, "method")
        assert "needs self-attention" in error.message


def test_limits_hold() -> None:
    tight = classifier(made(Modules), limits=Limits(max_pixels=100, max_targets=2))
    assert refusal({"data": png()}, of=tight).status == 413
    error = refusal({"data": png(), "target": b"top3"}, of=tight)
    assert (error.status, error.option) == (400, "target")


def test_the_format_follows_the_option_then_accept_then_the_default() -> None:
    of = classifier(made(Modules), format="npy")

    def chosen(fields: dict[str, Any], accept: str) -> str:
        return read_query(Message({"data": png(), **fields}, accept=accept, explain=True), of).options.format

    assert chosen({"format": "png"}, "application/json") == "png"
    assert chosen({}, "application/json") == "json"
    assert chosen({}, "*/*") == "npy"
    assert chosen({}, "") == "npy"


NAMES = st.sampled_from([*OPTIONS, *PARAMETERS, "data", "body", "b64"]) | st.text(max_size=10)
FIELDS = st.dictionaries(NAMES, st.binary(max_size=40) | ANYTHING | st.just(png()) | st.just(b64()), max_size=5)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(FIELDS, st.booleans(), st.text(max_size=40), st.text(max_size=20), st.sampled_from(["", "application/json"]))
def test_any_message_is_a_query_or_a_refusal(
    fields: dict[str, Any], explain: bool, path: str, accept: str, content_type: str
) -> None:
    for body in (fields, {"body": fields}, {"body": json.dumps(fields, default=str).encode()}):
        try:
            read_query(Message(body, content_type, accept, path, explain), model())
        except RequestError as error:
            assert error.status in (400, 406, 413, 415, 422)
            assert len(error.message) < 2000


def test_a_default_steps_aside_for_what_was_sent() -> None:
    def options(defaults: dict[str, Any], sent: dict[str, Any], accept: str = "") -> tuple[str, str]:
        of = classifier(made(Modules), **defaults)
        read = read_query(Message({"data": png(), **sent}, accept=accept, explain=True), of).options
        return read.format, read.render

    assert options({"format": "png"}, {"render": "none"}) == ("json", "none")
    assert options({"render": "none"}, {"format": "png"}) == ("png", "heatmap")
    assert options({"render": "none"}, {}, "image/png") == ("png", "heatmap")
    assert refusal({"data": png(), "render": "none", "format": "png"}).option == "render"


def test_an_answer_that_cannot_be_sent_is_refused_before_it_is_made() -> None:
    tight = classifier(made(Modules), limits=Limits(max_pixels=1000, max_response_bytes=5000))
    for sent in ({"format": "npy", "target": "top5"}, {"space": "original", "target": "top4", "reduce": "none"}):
        error = refusal({"data": png(), **sent}, of=tight)
        assert (error.status, error.kind) == (413, "ResponseTooLargeException")
    read_query(Message({"data": png(), "format": "npy", "target": "top4"}, explain=True), tight)


@pytest.mark.parametrize("path", ["/", "target=dog/", "?target=dog", "/target=dog"])
def test_a_slash_too_many_in_the_path_is_no_option(path: str) -> None:
    assert read({"body": png()}, path_options=path).objective is not None


def test_json_null_is_not_an_object() -> None:
    assert "object" in refusal({"body": None}, content_type="application/json").message
