"""E3: an explanation draws, saves and shows itself."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.answers import decoded, picture_in
from tests.networks import SIZE, Modules, classifier, made
from tests.test_explainer import picture
from torchserve_saliency import Explainer, RequestError
from torchserve_saliency.responses.display import DisplayedExplanation
from torchserve_saliency.responses.encoding import encode


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return Explainer(classifier(made(Modules)))


@pytest.fixture(scope="module")
def found(explainer: Explainer) -> DisplayedExplanation:
    return explainer.explain(picture(1), target="top2", method="grad_cam")


def test_the_array_has_all_targets(explainer: Explainer, found: DisplayedExplanation) -> None:
    np.testing.assert_array_equal(found.array, np.stack([one.saliency for one in found.maps]))
    assert explainer.explain(picture(1), reduce="none").array.shape == (1, 3, SIZE, SIZE)
    assert explainer.explain(picture(1), target="above0.9999").array.shape == (0, SIZE, SIZE)


@pytest.mark.parametrize("render", ["heatmap", "overlay", "side_by_side", "masked", "contours"])
@pytest.mark.parametrize("space", ["input", "original"])
def test_e3_the_picture_is_that_of_a_request_without_asking_the_network_again(
    explainer: Explainer, found: DisplayedExplanation, render: str, space: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"render": render, "space": space, "alpha": 0.3, "colormap": "viridis", "caption": True}
    asked = explainer.explain(picture(1), target="top2", method="grad_cam", format="png", **options)
    expected = Image.open(io.BytesIO(encode(asked, 1 << 24).body))
    monkeypatch.setattr(Explainer, "begin", lambda *_: pytest.fail("the network was asked again"))
    drawn = found.image(**options)
    assert drawn.size == expected.size
    np.testing.assert_allclose(np.asarray(drawn, float), np.asarray(expected.convert(drawn.mode), float), atol=1)


def test_e3_the_default_is_an_overlay_or_the_render_that_was_asked_for(explainer: Explainer) -> None:
    plain, contours = (explainer.explain(picture(1), render=render) for render in ("heatmap", "contours"))
    assert plain.image() == plain.image("overlay")
    assert plain.image() != plain.image("heatmap")
    assert contours.image() == plain.image("contours")
    assert plain.image("Side-by-side").width == 3 * SIZE


def test_one_target_of_several(found: DisplayedExplanation) -> None:
    both, second = found.image(), found.image(index=1)
    assert (both.width, second.width) == (2 * SIZE, SIZE)
    assert both.crop((SIZE, 0, 2 * SIZE, SIZE)) == second


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"render": "glow"}, "render"),
        ({"render": "none"}, "render"),
        ({"alpha": 2}, "alpha"),
        ({"alpha": True}, "alpha"),
        ({"alpha": float("nan")}, "alpha"),
        ({"clip": "much"}, "clip"),
        ({"clip": 5, "floor": 6}, "floor"),
        ({"colormap": "rainbowish"}, "colormap"),
        ({"colormap": 3}, "colormap"),
        ({"space": "outer"}, "space"),
        ({"backdrop": "red"}, "backdrop"),
        ({"caption": 3}, "caption"),
    ],
)
def test_a_wrong_view_is_named(found: DisplayedExplanation, options: dict[str, Any], option: str) -> None:
    with pytest.raises(RequestError) as caught:
        found.image(**options)
    assert (caught.value.status, caught.value.option) == (400, option)


def test_an_unknown_option_of_the_view_is_a_type_error(found: DisplayedExplanation) -> None:
    with pytest.raises(TypeError, match="'samples'"):
        found.image(samples=3)


def test_a_map_of_the_original_space_cannot_go_back(explainer: Explainer) -> None:
    with pytest.raises(RequestError, match="ask for it in explain"):
        explainer.explain(picture(1), space="original").image(space="input")


def test_without_maps_there_is_no_picture(explainer: Explainer) -> None:
    none = explainer.explain(picture(1), render="none")
    with pytest.raises(RequestError, match="no map to draw"):
        none.image()
    with pytest.raises(ValueError, match="render='none'"):
        _ = none.array
    for each in (none, explainer.explain(picture(1), target="above0.9999")):
        assert each._repr_png_() is None
        assert "apple pie" in each._repr_html_()
        assert "<img" not in each._repr_html_()


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".JPEG", ".webp"])
def test_e3_a_picture_is_saved_by_its_suffix(found: DisplayedExplanation, suffix: str, tmp_path: Path) -> None:
    path = found.save(tmp_path / "new" / f"x{suffix}", render="contours")
    saved, expected = Image.open(path), found.image("contours")
    assert saved.size == expected.size
    difference = np.asarray(saved.convert("RGB"), float) - np.asarray(expected.convert("RGB"), float)
    assert np.abs(difference).mean() < (0.01 if suffix == ".png" else 20)  # of 255, for a picture of noise


def test_e3_an_array_and_a_body_are_saved(found: DisplayedExplanation, tmp_path: Path) -> None:
    np.testing.assert_array_equal(np.load(found.save(str(tmp_path / "x.npy"))), found.array)
    assert json.loads(found.save(tmp_path / "x.json").read_text(encoding="utf-8")) == found.to_dict()
    with pytest.raises(ValueError, match=r"\.png, \.jpg"):
        found.save(tmp_path / "x.tiff")
    with pytest.raises(ValueError, match="suffix"):
        found.save(tmp_path / "x")


@pytest.mark.parametrize("form", ["json", "npy", "png"])
def test_the_dictionary_is_the_body_of_the_server(explainer: Explainer, form: str) -> None:
    found = explainer.explain(picture(1), target="top2", render="overlay", format=form, reduce="sum")
    body = found.to_dict()
    assert list(body) == ["model", "predictions", "explanations", "input"]
    for entry, one in zip(body["explanations"], found.maps, strict=True):
        step = float(np.ptp(one.saliency)) / 255
        np.testing.assert_allclose(decoded(entry["saliency"]), one.saliency, atol=0.51 * step)
        assert picture_in(entry["image"]["data"]).size == (SIZE, SIZE)
    if form == "json":
        assert body == json.loads(encode(found, 1 << 24).body)


def test_e3_a_cell_shows_predictions_maps_method_and_parameters(found: DisplayedExplanation) -> None:
    html = found._repr_html_()
    for prediction in found.predictions:
        assert f"{prediction.label}</td>" in html
        assert f"{prediction.probability:.1%}" in html
    assert html.count("<img") == len(found.maps) == html.count("<figcaption>")
    assert "grad_cam" in html
    assert f"layer = {found.parameters['layer']}" in html
    png = found._repr_png_()
    assert png is not None
    assert Image.open(io.BytesIO(png)).size == (2 * SIZE, SIZE)
    assert len(html) < 100_000


def test_e3_the_html_has_no_markup_of_labels() -> None:
    named = classifier(made(Modules))
    head = named.heads.default
    object.__setattr__(head.labels, "names", ("<script>alert(1)</script>", 'a"b', "c", "d", "e"))
    html = Explainer(named).explain(picture(1), target="top5")._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert len(re.findall(r'alt="a&quot;b', html)) == 1


@pytest.mark.parametrize(
    "options",
    [
        {"method": "feature_maps"},
        {"method": "activation_maximization", "target": 1, "steps": 2},
    ],
)
def test_methods_with_pictures_of_their_own_show_themselves(explainer: Explainer, options: dict[str, Any]) -> None:
    found = explainer.explain(None if "steps" in options else picture(1), **options)
    assert found.image().width >= SIZE
    assert "<img" in found._repr_html_()
    with pytest.raises(RequestError, match="'render' must be heatmap"):
        found.image("overlay")
    with pytest.raises(RequestError, match="space"):
        found.image(space="original")


def test_the_text_is_short(found: DisplayedExplanation, explainer: Explainer) -> None:
    assert repr(found).startswith("<Explanation of 'apple pie', ")
    assert len(repr(found)) < 200
    assert "against 'dog'" in repr(explainer.explain(picture(1), target=0, against=1))
