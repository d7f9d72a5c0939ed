"""The models of TorchServe: their list, their names, and their descriptions."""

from __future__ import annotations

import json

import pytest

from tests.cli.web.small_torchserve import DESCRIPTION, SmallTorchServe
from tests.cli.web.test_upstream import ask, refused
from torchserve_saliency_cli.web.upstream import Upstream


def test_all_pages_of_the_list_are_read(torchserve: SmallTorchServe) -> None:
    torchserve.list_models(["b", "a"], following="2")
    torchserve.list_models(["c"], token="2", following="4")
    torchserve.list_models(["b"], token="4")
    for name in "abc":
        torchserve.serve_model(name, ["2.0", "1.0"], "2.0")
    found = ask(torchserve.url, Upstream.models)
    versions = [("1.0", False), ("2.0", True)]
    assert found == [
        {"name": name, "version": version, "default": default, "parallel": 1}
        for name in "abc"
        for version, default in versions
    ]


@pytest.mark.parametrize(("batch_size", "workers", "parallel"), [(1, 3, 3), (1, 0, 1), (8, 3, 1), (None, 3, 1)])
def test_requests_that_could_share_a_batch_are_sent_one_after_another(
    torchserve: SmallTorchServe, batch_size: int | None, workers: int, parallel: int
) -> None:
    torchserve.list_models(["m"])
    torchserve.serve_model("m", ["1.0"], "1.0")
    entry = {"modelVersion": "1.0", "batchSize": batch_size, "workers": [{"id": str(one)} for one in range(workers)]}
    torchserve.answers["GET", "/models/m/all"] = (200, [entry])
    (model,) = ask(torchserve.url, Upstream.models)
    assert model["parallel"] == parallel


def test_a_list_without_models(torchserve: SmallTorchServe) -> None:
    torchserve.list_models([])
    assert ask(torchserve.url, Upstream.models) == []


def test_names_are_quoted_in_paths(torchserve: SmallTorchServe) -> None:
    torchserve.serve_model("a%20b%3Fc%25%23", ["1.0%2Bx"], "1.0%2Bx")
    assert ask(torchserve.url, lambda upstream: upstream.describe("a b?c%#", "1.0+x")) == DESCRIPTION
    ask(torchserve.url, lambda upstream: upstream.explain("Blätter/..", "1.0", None, {}))
    assert torchserve.requests[-1].path == "/explanations/Bl%C3%A4tter%2F../1.0"


@pytest.mark.parametrize(("name", "version"), [("..", "api"), (".", "1.0"), ("m", ".."), ("m", ".")])
def test_a_name_cannot_lead_to_another_route(torchserve: SmallTorchServe, name: str, version: str) -> None:
    assert refused(torchserve.url, lambda upstream: upstream.describe(name, version)).status == 404
    assert refused(torchserve.url, lambda upstream: upstream.explain(name, version, None, {})).status == 404
    assert not torchserve.requests


def test_the_description_may_be_text_or_an_object(torchserve: SmallTorchServe) -> None:
    torchserve.serve_model("m", ["1.0"], "1.0", json.dumps(DESCRIPTION))
    assert ask(torchserve.url, lambda upstream: upstream.describe("m", "1.0")) == DESCRIPTION


@pytest.mark.parametrize("description", [None, "", "no JSON", "[]", {}, {"methods": {}}, "null", 7])
def test_a_model_of_another_handler_is_422(torchserve: SmallTorchServe, description: object) -> None:
    torchserve.serve_model("m", ["1.0"], "1.0", description)
    error = refused(torchserve.url, lambda upstream: upstream.describe("m", "1.0"))
    assert (error.status, error.option) == (422, "model")
    assert error.message.startswith("the model 'm' does not describe itself")


def test_a_refusal_of_the_management_address_is_passed_on(torchserve: SmallTorchServe) -> None:
    error = refused(torchserve.url, lambda upstream: upstream.describe("gone", "1.0"))
    assert (error.status, error.type) == (404, "ResourceNotFoundException")
