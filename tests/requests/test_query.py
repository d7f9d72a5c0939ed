"""Messages as TorchServe delivers them, read as queries or as the errors sent to the client."""

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

from tests.networks import Flat, Modules, Tokens, classifier, made
from tests.test_explainer import picture
from tests.test_schema import ANYTHING
from torchserve_saliency.engine.objective import Rank
from torchserve_saliency.errors import RequestError
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.methods.activation.grad_cams import Cam
from torchserve_saliency.model.archive import Limits
from torchserve_saliency.model.classifier import Classifier
from torchserve_saliency.protocols.dispatch import read_call
from torchserve_saliency.requests.message import Message
from torchserve_saliency.requests.options import OPTIONS, PARAMETERS
from torchserve_saliency.requests.query import Query, read_query


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


def read(fields: dict[str, Any], explain: bool = True, network: Classifier | None = None, **route: Any) -> Query:
    """Return the query of a request on one of TorchServe's own routes."""
    network = network or model()
    (message,) = read_call(Message(fields, explain=explain, **route), network).messages
    if isinstance(message, RequestError):
        raise message
    return read_query(message, network)


def read_error(*request: Any, **route: Any) -> RequestError:
    """Return the error of an invalid request."""
    with pytest.raises(RequestError) as caught:
        read(*request, **route)
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
def test_all_forms_of_a_request_give_the_same_query(fields: dict[str, Any], path: str) -> None:
    query = read(fields, path_options=path)
    assert query.objective is not None
    assert query.objective.targets == (1,)
    assert query.options.top_k == 3
    assert query.picture.original.size == (20, 30)


def test_a_plus_in_the_path_is_a_space() -> None:
    query = read({"body": png()}, path_options="target=apple+pie")
    assert query.objective is not None
    assert query.objective.targets == (3,)


def test_a_prediction_has_an_objective_only_with_option_explain() -> None:
    assert read({"data": png()}, explain=False).objective is None
    query = read({"data": png(), "explain": b"true", "method": b"grad_cam"}, explain=False)
    assert query.objective is not None
    assert query.objective.targets == (Rank(0),)
    assert query.parameters == Cam("relu")


@pytest.mark.parametrize(
    ("fields", "route", "status", "option"),
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
def test_an_error_has_its_status_and_names_its_option(
    fields: dict[str, Any], route: dict[str, Any], status: int, option: str | None
) -> None:
    error = read_error(fields, **route)
    assert (error.status, error.option) == (status, option)
    assert error.message.isprintable()


def test_options_are_checked_before_the_picture_is_decoded() -> None:
    for sent in ({"target": b"5"}, {"method": b"grad_cam", "layer": b"head"}, {"method": b"rise", "samples": b"0"}):
        error = read_error({"data": b"no picture", **sent})
        assert error.option in sent
    assert read_error({"data": b"no picture"}, accept="text/html").status == 406


def test_near_matches_and_candidates_are_named() -> None:
    assert "'dog'" in read_error({"data": png(), "target": b"dogg"}).message
    ambiguous = read_error({"data": png(), "target": b"crane"}).message
    assert "crane (2)" in ambiguous
    assert "crane (4)" in ambiguous
    assert "second" in read_error({"data": png(), "method": b"grad_cam", "layer": b"secnd"}).message


def test_an_option_without_effect_on_a_prediction_is_an_error() -> None:
    error = read_error({"data": png(), "method": b"gradient"}, explain=False)
    assert (error.status, error.option) == (400, "method")
    assert read({"data": png(), "top_k": b"2"}, explain=False).options.top_k == 2
    assert read_error({"data": png()}, explain=False, accept="image/png").status == 406


def test_a_method_that_the_network_does_not_support_is_an_error_with_the_reason() -> None:
    flat, tokens = classifier(made(Flat)), classifier(made(Tokens))
    assert "spatial extent" in read_error({"data": png(), "method": b"grad_cam"}, network=flat).message
    for method in (b"guided_backprop", b"deconvolution"):
        error = read_error({"data": png(), "method": method}, network=tokens)
        assert (error.status, error.option) == (422, "method")
        assert "ReLU" in error.message
    for method in (b"attention_rollout", b"generic_attention"):
        error = read_error({"data": png(), "method": method}, network=flat)
        assert (error.status, error.option) == (422, "method")
        assert "needs self-attention" in error.message


def test_an_alias_of_a_method_is_answered_under_its_canonical_name() -> None:
    explainer = Explainer(model())
    by_alias = explainer.explain(picture(1), method="Input_X_Gradient")
    assert by_alias.method == "gradient_x_input"
    expected = explainer.explain(picture(1), method="gradient_x_input")
    assert (by_alias.maps[0].saliency == expected.maps[0].saliency).all()


def test_limits_hold() -> None:
    tight = classifier(made(Modules), limits=Limits(max_pixels=100, max_targets=2))
    assert read_error({"data": png()}, network=tight).status == 413
    error = read_error({"data": png(), "target": b"top3"}, network=tight)
    assert (error.status, error.option) == (400, "target")


def test_the_format_is_the_option_or_that_of_accept_or_the_default() -> None:
    network = classifier(made(Modules), format="npy")

    def chosen(fields: dict[str, Any], accept: str) -> str:
        return read({"data": png(), **fields}, network=network, accept=accept).options.format

    assert chosen({"format": "png"}, "application/json") == "png"
    assert chosen({}, "application/json") == "json"
    assert chosen({}, "*/*") == "npy"
    assert chosen({}, "") == "npy"


NAMES = st.sampled_from([*OPTIONS, *PARAMETERS, "data", "body", "b64"]) | st.text(max_size=10)
FIELDS = st.dictionaries(NAMES, st.binary(max_size=40) | ANYTHING | st.just(png()) | st.just(b64()), max_size=5)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(FIELDS, st.booleans(), st.text(max_size=40), st.text(max_size=20), st.sampled_from(["", "application/json"]))
def test_any_message_is_a_query_or_an_error(
    fields: dict[str, Any], explain: bool, path: str, accept: str, content_type: str
) -> None:
    for body in (fields, {"body": fields}, {"body": json.dumps(fields, default=str).encode()}):
        for each in read_call(Message(body, content_type, accept, path, explain), model()).messages:
            try:
                if isinstance(each, RequestError):
                    raise each
                read_query(each, model())
            except RequestError as error:
                assert error.status in (400, 406, 413, 415, 422)
                assert len(error.message) < 2000


@pytest.mark.parametrize(
    ("defaults", "sent", "accept", "expected"),
    [
        ({"format": "png"}, {"render": "none"}, "", ("json", "none")),
        ({"format": "png"}, {"render": "none"}, "*/*", ("json", "none")),
        ({"render": "none"}, {"format": "png"}, "", ("png", "heatmap")),
        ({"render": "none"}, {}, "image/png", ("png", "heatmap")),
        ({"render": "none", "format": "png"}, {}, "", ("png", "heatmap")),
        ({"render": "none"}, {}, "", ("json", "none")),
        ({"render": "none"}, {"format": "npy"}, "", ("npy", "none")),
        ({}, {"render": "none"}, "image/png, */*;q=0.1", None),
        ({}, {"render": "none", "format": "png"}, "", None),
    ],
)
def test_of_a_format_and_a_render_that_contradict_each_other_a_default_is_ignored(
    defaults: dict[str, Any], sent: dict[str, Any], accept: str, expected: tuple[str, str] | None
) -> None:
    network = classifier(made(Modules), **defaults)
    if expected is None:
        error = read_error({"data": png(), **sent}, network=network, accept=accept)
        assert (error.status, error.option) == (400, "render")
        return
    options = read({"data": png(), **sent}, network=network, accept=accept).options
    assert (options.format, options.render) == expected


def test_maps_that_are_too_large_to_send_are_an_error_before_they_are_made() -> None:
    tight = classifier(made(Modules), limits=Limits(max_pixels=1000, max_response_bytes=5000))
    for sent in ({"format": "npy", "target": "top5"}, {"space": "original", "target": "top4", "reduce": "none"}):
        error = read_error({"data": png(), **sent}, network=tight)
        assert (error.status, error.kind) == (413, "ResponseTooLargeException")
    read({"data": png(), "format": "npy", "target": "top4"}, network=tight)


@pytest.mark.parametrize("path", ["/", "target=dog/", "?target=dog", "/target=dog"])
def test_extra_slashes_in_the_path_are_ignored(path: str) -> None:
    assert read({"body": png()}, path_options=path).objective is not None


def test_json_null_is_not_an_object() -> None:
    assert "object" in read_error({"body": None}, content_type="application/json").message
