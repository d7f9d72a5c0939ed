"""One archive of a network with several outputs: a request names the head (case C8)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.archives import seeded
from tests.outputs import network_input, two_heads
from tests.test_explainer import picture
from torchserve_saliency.errors import ModelError, RequestError
from torchserve_saliency.requests.message import Message
from torchserve_saliency.requests.query import read_query
from torchserve_saliency.responses.explanation import Explanation


def test_c8_a_request_names_the_head(tmp_path: Path) -> None:
    made = two_heads(tmp_path)
    x = network_input(made, picture(3)).double().requires_grad_()
    output = seeded(tmp_path / "net.py").eval().double()(x)
    species, disease = output["species"][0], output["disease"][0]
    for head, expected in (("species", species.softmax(0)), ("disease", disease.sigmoid()), (None, species.softmax(0))):
        found = made.explain(picture(3), head=head, target=1, top_k=9, reduce="none", score="probability")
        ordered = {one.index: one.probability for one in found.predictions}
        assert [ordered[i] for i in range(len(expected))] == pytest.approx(expected.tolist(), abs=1e-6)
        (gradient,) = torch.autograd.grad(expected[1], x, retain_graph=True)
        torch.testing.assert_close(torch.from_numpy(found.maps[0].saliency).double(), gradient[0], rtol=1e-3, atol=1e-6)
        assert found.parameters["head"] == (head or "species")
    assert made.explain(picture(3), head="disease", target="rust", against="runner_up").maps[0].target.label == "rust"
    assert made.explain(picture(3), head=1).maps[0].target.label in ("scab", "rust")
    for options in ({"head": "disease", "target": "apple"}, {"head": "disease", "target": 2}, {"target": "scab"}):
        with pytest.raises(RequestError) as raised:
            made.explain(picture(3), **options)
        assert (raised.value.status, raised.value.option) == (422, "target")
    with pytest.raises(RequestError, match="there is no head 'leaf'; this network has species, disease") as raised:
        made.explain(picture(3), head="leaf")
    assert (raised.value.status, raised.value.option) == (422, "head")


def test_c8_heads_share_batches_and_methods_stay_within_their_head(tmp_path: Path) -> None:
    made = two_heads(tmp_path)
    methods = ("gradient", "integrated_gradients", "deep_lift", "score_cam", "occlusion", "rise", "grad_cam")
    requests: list[dict[str, Any]] = [
        {"head": head, "method": method, "target": "top2", "score": score, "quality": method == "gradient"}
        for method in methods
        for head in ("species", "disease")
        for score in ("logit", "probability")
    ]
    queries = [read_query(Message({"data": picture(3), **each}, explain=True), made.classifier) for each in requests]
    together = made.begin(queries).forward().finish()
    for options, one in zip(requests, together, strict=True):
        assert isinstance(one, Explanation), one
        alone = made.explain(picture(3), **options)
        for each, other in zip(one.maps, alone.maps, strict=True):
            assert each.target.label == other.target.label
            np.testing.assert_allclose(each.saliency, other.saliency, rtol=1e-3, atol=1e-5)
            if gap := other.findings.get("completeness_gap"):
                assert abs(gap) < 1e-3


def test_c8_a_default_head_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    assert two_heads(tmp_path / "right", head="disease").explain(picture(1)).parameters["head"] == "disease"
    with pytest.raises(ModelError, match="there is no head 'leaf'"):
        two_heads(tmp_path / "wrong", head="leaf")


def test_c8_a_class_of_another_head_is_found_by_the_message(tmp_path: Path) -> None:
    made = two_heads(tmp_path)
    for option in ("target", "against"):
        with pytest.raises(
            RequestError, match="no class is named 'Scab' in head 'species'; ask for head=disease"
        ) as raised:
            made.explain(picture(1), **dict[str, Any]({option: "Scab"}))
        assert (raised.value.status, raised.value.option) == (422, option)
    with pytest.raises(RequestError, match="did you mean 'apple'"):
        made.explain(picture(1), target="aple")
