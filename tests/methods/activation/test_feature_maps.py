"""Feature maps: the strongest channels of a layer, as an array and as a sheet of tiles."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.methods.activation.test_grad_cams import drive_method
from tests.networks import Flat, Modules, Tokens, classifier, inputs, made
from tests.test_explainer import picture
from torchserve_saliency.engine.objective import Objective
from torchserve_saliency.errors import RequestError
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.methods.activation.feature_maps import FEATURE_MAP_METHODS, FeatureMaps
from torchserve_saliency.requests.parsing import read_options
from torchserve_saliency.responses.encoding import Response, encode

EXPLAINER = Explainer(classifier(made(Modules)))


def answer(**options: Any) -> Response:
    """Return the answer to a request for feature maps."""
    return encode(EXPLAINER.explain(picture(0), method="feature_maps", **options), 10**7)


def entry(**options: object) -> dict[str, Any]:
    """Return the only explanation in a JSON answer."""
    (one,) = json.loads(answer(**options).body)["explanations"]
    return dict(one)


@pytest.mark.parametrize("channels", [3, 8, 100])
def test_the_strongest_channels_are_returned_unchanged(channels: int) -> None:
    network = made(Modules, dtype=torch.float64)
    found = drive_method(network, "feature_maps", FeatureMaps("second", channels), Objective((1,)))
    maps, cost = found.value, found.cost
    assert isinstance(network, Modules)
    expected = network.second(network.first(inputs(dtype=torch.float64)).clamp_min(0))[0]
    units = maps.findings[0]["units"]
    torch.testing.assert_close(maps.values[0], expected[units])
    sizes = expected.abs().mean((1, 2))
    assert units == sizes.argsort(descending=True)[:channels].tolist()
    assert cost == FEATURE_MAP_METHODS["feature_maps"].cost(FeatureMaps(), EXPLAINER.classifier.input)


def test_a_transformers_channels_lie_on_its_patches() -> None:
    maps = drive_method(made(Tokens), "feature_maps", FeatureMaps("norm", 5), Objective((1,))).value
    assert maps.values.shape == (1, 5, 4, 4)


def test_json_holds_the_units_their_maps_and_a_sheet_of_tiles() -> None:
    one = entry(layer="second", channels=5)
    assert one["saliency"]["shape"] == [5, 8, 8]
    assert (len(one["units"]), len(set(one["units"]))) == (5, 5)
    assert one["image"]["shape"] == [2 * 64 + 2, 3 * 64 + 4]
    assert one["parameters"]["reduce"] == "none"
    assert "image" not in entry(render="none")


def test_png_is_the_sheet_of_tiles_and_npy_the_array() -> None:
    sheet = Image.open(io.BytesIO(answer(layer="second", channels=5, format="png").body))
    assert sheet.size == (3 * 64 + 4, 2 * 64 + 2)
    array = np.load(io.BytesIO(answer(layer="second", channels=5, format="npy").body))
    assert array.shape == (1, 5, 8, 8)
    assert array.min() < 0 < array.max()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("target", "top2"),
        ("target", [0, 1]),
        ("reduce", "max_abs"),
        ("space", "original"),
        ("render", "overlay"),
        ("layer", "first;second"),
        ("channels", 0),
        ("channels", 2049),
    ],
)
def test_options_without_effect_on_feature_maps_are_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(RequestError) as refusal:
        read_options({"method": "feature_maps", name: value}, {})
    assert (refusal.value.status, refusal.value.option) == (400, name)


def test_defaults_without_effect_on_feature_maps_are_ignored() -> None:
    defaults = {"target": "top3", "reduce": "l2", "space": "original", "render": "overlay", "polarity": "positive"}
    options = read_options({"method": "feature_maps"}, defaults).options
    assert (len(options.target), options.reduce, options.space, options.render) == (1, "none", "input", "heatmap")
    assert options.polarity == "positive"
    assert read_options({"method": "feature_maps"}, {"layer": "first;second"}).parameters == FeatureMaps()
    others = read_options({}, defaults).options
    assert (len(others.target), others.reduce, others.space, others.render) == (3, "l2", "original", "overlay")


def test_the_error_of_a_too_long_answer_suggests_fewer_channels() -> None:
    with pytest.raises(RequestError, match=r"ask for format jpeg or webp or fewer channels or") as refusal:
        encode(EXPLAINER.explain(picture(0), method="feature_maps"), 100)
    assert refusal.value.status == 413
    assert "reduce" not in refusal.value.message


def test_a_network_without_a_grid_has_no_feature_maps() -> None:
    with pytest.raises(RequestError, match="needs a layer with spatial extent, and this network has none"):
        Explainer(classifier(made(Flat))).explain(picture(0), method="feature_maps")
