"""Activation maximization of a class or a unit, and requests for it without a picture."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tests.networks import SIZE, Modules, classifier, made
from tests.test_explainer import picture
from torchserve_saliency.engine.objective import Objective
from torchserve_saliency.errors import RequestError
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.protocols.dispatch import read_call
from torchserve_saliency.requests.message import Message
from torchserve_saliency.requests.query import read_query
from torchserve_saliency.responses.encoding import encode

QUICK: Mapping[str, Any] = {"method": "activation_maximization", "steps": 20, "jitter": 2}


class LinearNetwork(nn.Module):
    """A linear network: a weighted sum of all pixels for each class."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3 * SIZE * SIZE, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.flatten(1))


@pytest.fixture
def explainer() -> Explainer:
    return Explainer(classifier(made(Modules)))


def test_the_input_for_a_linear_network_is_black_and_white_by_the_signs_of_its_weights() -> None:
    network = made(LinearNetwork)
    assert isinstance(network, LinearNetwork)
    plain: dict[str, Any] = {"steps": 200, "jitter": 0, "blur": 0, "decay": 0, "learning_rate": 1}
    found = Explainer(classifier(network)).explain(None, method="activation_maximization", target=2, **plain).maps[0]
    weights = network.head.weight[2].view(3, SIZE, SIZE).numpy()
    strong = np.abs(weights) > 0.2 * np.abs(weights).max()
    expected = np.where(weights > 0, 2.0, -2.0)  # white and black, for mean 0.5 and std 0.25
    np.testing.assert_allclose(found.saliency[strong], expected[strong], atol=1e-5)


def test_the_score_rises_and_equals_that_of_the_predictions(explainer: Explainer) -> None:
    explanation = explainer.explain(None, target=3, top_k=5, **QUICK)
    (one,) = explanation.maps
    assert one.target.index == 3
    assert one.findings["score_end"] > one.findings["score_start"]
    assert one.findings["score_end"] == pytest.approx(one.target.logit)
    x = torch.from_numpy(one.saliency)[None]
    logits = explainer.classifier.forward(x)[0]
    assert one.target.logit == pytest.approx(float(logits[3]), rel=1e-5)
    assert explanation.predictions[0].logit == pytest.approx(float(logits.max()), rel=1e-5)


def test_the_same_seed_gives_the_same_input_and_another_seed_another(explainer: Explainer) -> None:
    first, again, other = (explainer.explain(None, target=1, seed=s, **QUICK).maps[0].saliency for s in (4, 4, 5))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_unit_is_maximised_instead_of_a_class(explainer: Explainer) -> None:
    explanation = explainer.explain(None, layer="second", unit=6, **QUICK)
    (one,) = explanation.maps
    network = explainer.classifier.network
    assert isinstance(network, Modules)
    with torch.no_grad():
        unit = network.second(torch.relu(network.first(torch.from_numpy(one.saliency)[None])))[0, 6].mean()
    assert one.findings["score_end"] == pytest.approx(float(unit), rel=1e-4)
    assert one.findings["score_end"] > one.findings["score_start"]
    assert one.target == explanation.predictions[0]


def test_progress_is_reported(explainer: Explainer) -> None:
    reported: list[int] = []
    explainer.explain(on_progress=reported.append, target=1, **QUICK)
    assert reported == list(range(1, 24))


@pytest.mark.parametrize(
    ("options", "status", "option"),
    [
        ({"data": picture(0)}, 400, "data"),
        ({"target": "predicted"}, 400, "target"),
        ({"target": "top2"}, 400, "target"),
        ({"target": "1;2"}, 400, "target"),
        ({"against": "runner_up"}, 400, "against"),
        ({"layer": "second"}, 400, "layer"),
        ({"unit": 3}, 400, "unit"),
        ({"layer": "second", "unit": 8}, 422, "unit"),
        ({"layer": "secnd", "unit": 3}, 422, "layer"),
        ({"reduce": "sum"}, 400, "reduce"),
        ({"polarity": "positive"}, 400, "polarity"),
        ({"space": "original"}, 400, "space"),
        ({"render": "overlay"}, 400, "render"),
        ({"quality": True}, 400, "quality"),
        ({"steps": 501}, 400, "steps"),
    ],
)
def test_options_that_do_not_go_with_the_method_are_refused(
    explainer: Explainer, options: dict[str, object], status: int, option: str
) -> None:
    data = options.pop("data", None)
    assert data is None or isinstance(data, bytes)
    with pytest.raises(RequestError) as caught:
        explainer.explain(data, **{"target": 1, **QUICK, **options})
    assert (caught.value.status, caught.value.option) == (status, option)


def test_every_other_method_needs_a_picture(explainer: Explainer) -> None:
    with pytest.raises(RequestError, match="no 'data'"):
        explainer.explain(None, target=1)


def test_a_form_without_a_file_or_an_empty_body_with_path_options_is_accepted() -> None:
    model = classifier(made(Modules))
    for message in (
        Message({"method": b"activation_maximization", "target": b"dog"}, explain=True),
        Message({"body": bytearray()}, path_options="method=activation_maximization&target=dog", explain=True),
        Message({"body": {"method": "activation_maximization", "target": "dog"}}, explain=True),
    ):
        (read,) = read_call(message, model).messages
        assert isinstance(read, Message)
        assert read_query(read, model).objective == Objective((1,))


def test_the_picture_is_the_input_itself(explainer: Explainer) -> None:
    explanation = explainer.explain(None, target=2, **QUICK)
    body = json.loads(encode(explanation, 1 << 20).body)
    (entry,) = body["explanations"]
    assert entry["saliency"]["shape"] == [3, SIZE, SIZE]
    png = encode(explainer.explain(None, target=2, format="png", **QUICK), 1 << 20).body
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    expected = explanation.maps[0].saliency.transpose(1, 2, 0) * 0.25 + 0.5
    np.testing.assert_allclose(pixels / 255, expected, atol=1 / 255)
    assert body["input"] == {"width": SIZE, "height": SIZE, "crop": [0, 0, SIZE, SIZE]}
    array = np.load(io.BytesIO(encode(explainer.explain(None, target=2, format="npy", **QUICK), 1 << 20).body))
    assert array.shape == (1, 3, SIZE, SIZE)
