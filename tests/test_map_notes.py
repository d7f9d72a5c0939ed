"""A5, A7, F4: notes on empty maps and coarse layers, and the part of a map that speaks against a class."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.networks import Modules, Tokens, classifier, made
from tests.test_explainer import picture
from torchserve_saliency.errors import RequestError
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.map_notes import finer_layer
from torchserve_saliency.methods import METHODS
from torchserve_saliency.methods.activation import grad_cams
from torchserve_saliency.model.classifier import Classifier
from torchserve_saliency.responses.encoding import encode

LIMIT = 10**8
SIGNED_CAMS = ("grad_cam", "grad_cam_plus_plus", "hires_cam", "layer_cam", "xgrad_cam", "ablation_cam")


class OneSided(Modules):
    """A network in which every feature speaks for class 0 and against class 1."""

    def __init__(self) -> None:
        super().__init__()
        with torch.no_grad():
            self.head.weight[0] = 1
            self.head.weight[1] = -1


class Deep(nn.Module):
    """Four blocks whose grids are 16, 8, 4 and 2 cells wide, for an input of 32 pixels."""

    def __init__(self) -> None:
        super().__init__()
        channels = (3, 4, 4, 4, 4)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.ReLU()) for a, b in pairwise(channels))
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((2, 3)))


def entry(network: Classifier, **options: Any) -> dict[str, Any]:
    """Return the entry of an explanation's only target."""
    body = json.loads(encode(Explainer(network).explain(picture(1), **options), LIMIT).body)
    return dict(body["explanations"][0])


@pytest.mark.parametrize("method", ["grad_cam", "hires_cam", "xgrad_cam", "ablation_cam"])
def test_a5_an_empty_class_activation_map_says_why(method: str) -> None:
    found = entry(classifier(made(OneSided)), method=method, target=1)
    assert (found["saliency"]["min"], found["saliency"]["max"]) == (0, 0)
    (note,) = found["notes"]
    assert note.startswith("the map is empty, with 0 everywhere: nothing in layer 'relu' speaks for the class")
    assert "negative before the ReLU" in note
    assert "polarity=negative" in note
    assert "notes" not in entry(classifier(made(OneSided)), method=method, target=0)


def test_a5_the_metadata_of_npy_has_the_note() -> None:
    explanation = Explainer(classifier(made(OneSided))).explain(picture(1), method="grad_cam", target=1, format="npy")
    response = encode(explanation, LIMIT)
    assert not np.load(io.BytesIO(response.body)).any()
    (found,) = json.loads(response.headers["Saliency-Metadata"])["explanations"]
    assert "the map is empty" in found["notes"][0]


def test_a5_a_layer_without_any_effect_is_another_reason() -> None:
    network = made(Modules)
    assert isinstance(network, Modules)
    network.head.weight.zero_()
    assert "are 0, so they do not change the score" in entry(classifier(network), method="grad_cam")["notes"][0]


@pytest.mark.parametrize("method", ["gradient", "gradient_x_input", "smooth_grad", "integrated_gradients", "occlusion"])
def test_a5_any_empty_map_says_why(method: str) -> None:
    network = made(Modules)
    assert isinstance(network, Modules)
    network.head.weight.zero_()
    note = entry(classifier(network), method=method)["notes"][0]
    assert note.startswith("the map is empty, with 0 everywhere: ")


def test_a5_a_saturated_probability_is_named() -> None:
    network = made(Modules)
    assert isinstance(network, Modules)
    network.head.bias[0] = 2000.0
    note = entry(classifier(network), score="probability", target=0)["notes"][0]
    assert "score=logit may not be" in note


def test_a5_a_polarity_without_values_is_named() -> None:
    network = made(OneSided)
    assert isinstance(network, OneSided)
    for weights in (network.first.weight, network.second.weight):
        weights.abs_()
    network.head.weight[0] = 1
    options = {"reduce": "sum", "target": 0}
    assert "notes" not in entry(classifier(network), polarity="positive", **options)
    found = entry(classifier(network), polarity="negative", **options)
    (note,) = found["notes"]
    assert note.endswith("no value of the map is negative, so nothing in it speaks against the class")


@pytest.mark.parametrize("method", SIGNED_CAMS)
def test_a7_negative_polarity_shows_what_speaks_against_the_class(method: str) -> None:
    options: dict[str, Any] = {"method": method, "reduce": "sum", "format": "npy"}
    explainer = Explainer(classifier(made(OneSided)))
    against = explainer.explain(picture(1), target=1, polarity="negative", **options).maps[0]
    assert against.saliency.min() < 0
    assert against.saliency.max() <= 0
    assert "notes" not in against.findings
    for_it = explainer.explain(picture(1), target=0, polarity="negative", **options).maps[0]
    assert not for_it.saliency.any()
    assert "speaks against the class" in for_it.findings["notes"][0]


@pytest.mark.parametrize("seed", range(3))
def test_a7_negative_grad_cam_is_the_negative_part_of_the_weighted_sum(seed: int) -> None:
    network = made(Modules, seed)
    explainer = Explainer(classifier(network))
    x = explainer.explain(picture(2), target=2).picture.tensor[None].double()
    copy = made(Modules, seed, torch.float64)
    assert isinstance(copy, Modules)
    features = torch.relu(copy.second(torch.relu(copy.first(x)))).detach().requires_grad_()
    score = copy.head(features.mean((2, 3)))[0, 2]
    (gradient,) = torch.autograd.grad(score, features)
    whole = (features * gradient.mean((2, 3), keepdim=True)).sum(1, keepdim=True).detach()
    for polarity, part in (("both", whole.relu()), ("positive", whole.relu()), ("negative", -(-whole).relu())):
        expected = F.interpolate(part, size=(16, 16), mode="bilinear", align_corners=False)[0, 0].numpy()
        found = explainer.explain(picture(2), method="grad_cam", target=2, reduce="sum", polarity=polarity)
        np.testing.assert_allclose(found.maps[0].saliency, expected, atol=1e-6 * np.abs(expected).max() + 1e-9)


def test_a7_the_negative_map_is_minus_the_map_of_the_negated_score() -> None:
    """With two classes whose weights are opposite, what speaks against one speaks for the other."""
    explainer = Explainer(classifier(made(OneSided)))
    for method in ("grad_cam", "grad_cam_plus_plus", "layer_cam"):
        negative = explainer.explain(picture(1), method=method, target=1, reduce="sum", polarity="negative")
        positive = explainer.explain(picture(1), method=method, target=0)
        np.testing.assert_allclose(-negative.maps[0].saliency, positive.maps[0].saliency, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(
    "method", ["eigen_cam", "score_cam", "smooth_grad_squared", "var_grad", "attention_rollout", "generic_attention"]
)
def test_a7_a_map_that_is_never_negative_refuses_the_negative_part(method: str) -> None:
    network = Tokens if "attention" in method else Modules
    with pytest.raises(RequestError) as caught:
        Explainer(classifier(made(network))).explain(picture(1), method=method, reduce="sum", polarity="negative")
    assert (caught.value.status, caught.value.option) == (400, "polarity")
    assert "has no negative values" in caught.value.message


def test_a7_only_methods_that_are_never_negative_refuse_it() -> None:
    unsigned = {name for name, method in METHODS.items() if not method.signed}
    assert unsigned == {
        *("eigen_cam", "score_cam", "smooth_grad_squared", "var_grad", "attention_rollout", "generic_attention")
    }


def test_a7_quality_scores_the_negative_map() -> None:
    options: dict[str, Any] = {"method": "grad_cam", "reduce": "sum", "quality": True, "target": 1}
    quality = Explainer(classifier(made(OneSided))).explain(picture(1), polarity="negative", **options).maps[0].quality
    assert dict(quality or {})["sparseness"]["value"] > 0  # type: ignore[index, operator]


@pytest.mark.parametrize("method", [*SIGNED_CAMS, "eigen_cam", "score_cam", "guided_grad_cam"])
def test_f4_the_entry_has_the_grid_of_the_layer(method: str) -> None:
    assert entry(classifier(made(Modules)), method=method)["layer_grid"] == [8, 8]
    several = entry(classifier(made(Modules)), method=method, layer="first;second")
    assert several["layer_grid"] == {"first": [16, 16], "second": [8, 8]}


def test_f4_a_coarse_grid_is_noted_with_a_finer_layer() -> None:
    network = classifier(made(Deep), size=32)
    assert network.layers.grids["blocks.3"] == (2, 2)
    found = entry(network, method="grad_cam", layer="blocks.3")
    assert found["layer_grid"] == [2, 2]
    assert "layer 'blocks.3' has a grid of only 2 x 2 cells; layer=blocks.1 has 8 x 8" in found["notes"]
    assert "notes" not in entry(network, method="grad_cam", layer="blocks.1", target=int(found["target"]["index"]))


def test_f4_the_finer_layer_is_a_block_with_the_deepest_fine_grid() -> None:
    grids = {"a.0": (14, 14), "a": (14, 14), "b.0.c": (7, 7), "b.0": (7, 7), "b": (7, 7), "d.0": (4, 4), "d": (4, 4)}
    assert finer_layer("d", grids) == "b"
    assert finer_layer("d.0", grids) == "b"
    assert finer_layer("d", {"c": (5, 5), "d": (4, 4)}) == "c"
    assert finer_layer("d", {"d": (4, 4)}) is None
    assert finer_layer("not there", grids) is None


def test_the_opposing_map_is_not_computed_for_a_map_with_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """A class activation map would otherwise cost twice as much."""
    signs: list[int] = []
    own: Callable[..., Tensor] = grad_cams._weighted_map

    def counted(*args: Any, **sign: int) -> Tensor:
        signs.append(sign.get("sign", 1))
        return own(*args, **sign)

    monkeypatch.setattr(grad_cams, "_weighted_map", counted)
    explainer = Explainer(classifier(made(OneSided)))
    assert explainer.explain(picture(1), method="grad_cam", target=0).maps[0].saliency.any()
    assert signs == [1]
