"""F3: the caption of a drawn map."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.answers import CRANE, LIMIT, OWL, json_of, make_explanation, picture_in
from tests.drawing import bump, colours_of
from torchserve_saliency.methods.base import Shows
from torchserve_saliency.responses import caption as captions
from torchserve_saliency.responses.caption import LEAST_WIDTH, Panel, _factor, captioned
from torchserve_saliency.responses.colormap import colour_scale, paint, shade
from torchserve_saliency.responses.drawing import draw_map
from torchserve_saliency.responses.encoding import encode
from torchserve_saliency.responses.explanation import Explanation, View
from torchserve_saliency.responses.lettering import is_drawable, width, wrapped


class Texts:
    """The texts that are drawn."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[str] = []
        draw = captions._Page._text

        def recorded(page: captions._Page, left: int, top: int, text: str, ink: tuple[int, int, int]) -> None:
            self.seen.append(text)
            draw(page, left, top, text, ink)

        monkeypatch.setattr(captions._Page, "_text", recorded)


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch) -> Texts:
    return Texts(monkeypatch)


def png(explanation: Explanation) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(encode(replace(explanation, format="png"), LIMIT).body)))


@pytest.mark.parametrize("render", ["heatmap", "overlay", "masked", "contours"])
def test_f3_the_picture_carries_class_probability_method_and_values(render: str, texts: Texts) -> None:
    saliency = bump(16, 16) * 0.25
    png(make_explanation(saliency, view=View(render=render, caption=True)))
    assert {"great grey owl 98.1%", "gradient"} <= set(texts.seen)
    assert f"least {saliency.min():.3g}, greatest 0.25" in texts.seen


def test_f3_the_caption_names_the_class_against_and_the_score(texts: Texts) -> None:
    explanation = make_explanation(view=View(caption=True), parameters={"score": "probability"})
    other = replace(CRANE, label="Kranich")
    png(replace(explanation, maps=(replace(explanation.maps[0], against=other),)))
    assert {"great grey owl 98.1%", "against Kranich 1%", "gradient of probability"} <= set(texts.seen)


def test_f3_each_panel_of_each_target_has_its_name(texts: Texts) -> None:
    maps = [bump(16, 16), bump(16, 16, (0.2, 0.2)), bump(16, 16, (0.7, 0.2))]
    image = png(make_explanation(*maps, view=View(render="side_by_side", caption=True)))
    panels = ["picture", "great grey owl: heatmap", "great grey owl: overlay"]
    assert [text for text in texts.seen if text in panels] == panels * 3
    assert image.shape[1] % 3 == 0, "the targets can be split at equal widths"
    assert image.shape[1] >= 9 * LEAST_WIDTH


@pytest.mark.parametrize(("side", "factor"), [(8, 28), (32, 7), (128, 2), (223, 2), (224, 1), (1_000, 1)])
def test_f3_small_pictures_are_enlarged_by_whole_factors(side: int, factor: int) -> None:
    assert _factor(side, side) == factor


def test_f3_the_map_inside_the_caption_is_the_plain_picture_enlarged() -> None:
    explanation = make_explanation(view=View(caption=True))
    plain = np.asarray(draw_map(explanation.maps[0].saliency, explanation))
    large = np.kron(plain, np.ones((14, 14, 1), np.uint8))
    found = png(explanation)
    places = [top for top in range(found.shape[0] - 224) if np.array_equal(found[top : top + 224, 6 : 6 + 224], large)]
    assert len(places) == 1


def test_f3_a_long_and_thin_picture_is_not_enlarged_without_bound() -> None:
    assert _factor(2, 60_000) ** 2 * 2 * 60_000 <= captions.MOST_PIXELS
    explanation = make_explanation(view=View(caption=True))
    page = captioned(Image.new("RGB", (3, 40_000)), explanation.maps[0], explanation, [Panel()])
    assert page.width >= LEAST_WIDTH


@pytest.mark.parametrize("signed", [False, True])
def test_f3_the_scale_has_the_colours_of_the_values_at_its_ends(signed: bool) -> None:
    ramp = np.linspace(-3 if signed else 1, 3, 1_000, dtype=np.float32).reshape(20, 50)
    view = View(clip=100)
    scale = colour_scale(ramp, view, signed)
    assert (scale.low, scale.high) == pytest.approx((-3, 3) if signed else (1, 3))
    drawn = paint(shade(ramp, view, signed), None)
    for place in (0, 300, 999):
        value = ramp.flat[place]
        entry = round((value - scale.low) / (scale.high - scale.low) * 255)
        assert np.abs(scale.colours[entry].astype(int) - drawn.reshape(-1, 3)[place]).max() <= 4


def test_f3_the_scale_of_clipped_colours_ends_at_the_percentile() -> None:
    values = np.arange(1, 1_001, dtype=np.float32).reshape(20, 50)
    assert colour_scale(values, View(clip=90, floor=10), False).high == pytest.approx(900.1)
    assert colour_scale(values, View(clip=90, floor=10), False).low == pytest.approx(100.9)


def test_f3_the_scale_is_drawn_below_the_picture() -> None:
    found = png(make_explanation(bump(16, 16), view=View(caption=True, colormap="viridis"))).astype(int)
    ends = colours_of("viridis", np.array([0.0, 1.0]))
    rows = [row for row in found if (np.abs(row[6] - ends[0]) <= 3).all() and (np.abs(row[229] - ends[1]) <= 3).all()]
    assert len(rows) >= 4


def test_f3_json_has_the_captioned_heatmap_too() -> None:
    entry = json_of(encode(make_explanation(view=View(caption=True)), LIMIT))["explanations"][0]
    image = picture_in(entry["image"]["data"])
    assert entry["image"]["caption"] is True
    assert entry["image"]["shape"] == [image.height, image.width]
    assert entry["saliency"]["shape"] == [16, 16]


def test_f3_maps_without_colours_have_no_scale(texts: Texts) -> None:
    png(make_explanation(np.random.default_rng(0).random((3, 16, 16), np.float32), view=View(caption=True)))
    channels = np.random.default_rng(0).random((4, 8, 8), np.float32)
    png(make_explanation(channels, view=View(caption=True), shows=Shows.CHANNELS))
    assert "4 channels, each with its own scale" in texts.seen


def test_f3_an_empty_map_says_so(texts: Texts) -> None:
    png(make_explanation(np.zeros((16, 16), np.float32), view=View(caption=True)))
    assert "the map is 0 everywhere" in texts.seen


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        ("Blätter – Rost", "Blätter – Rost 98.1%"),
        ("ржавчина", "ржавчина 98.1%"),
        ("赤さび", "class 24 98.1%"),
        ("a\ud800b", "class 24 98.1%"),
        ("", "class 24 98.1%"),
        ("two\n lines", "two lines 98.1%"),
    ],
)
def test_f3_labels_in_other_alphabets_are_shown_or_replaced_by_the_index(label: str, shown: str, texts: Texts) -> None:
    explanation = make_explanation(view=View(caption=True))
    png(replace(explanation, maps=(replace(explanation.maps[0], target=replace(OWL, label=label)),)))
    assert shown in texts.seen


def test_a_long_text_is_wrapped_and_cut() -> None:
    lines = wrapped("word " * 60, 12, 200, 2)
    assert len(lines) == 2
    assert lines[-1].endswith("…")
    assert all(width(line, 12) <= 200 for line in (*lines, *wrapped("x" * 500, 12, 100, 1)))
    assert wrapped("", 12, 200, 2) == []


def test_the_font_lacks_some_alphabets() -> None:
    assert is_drawable("Ärger œuvre 5 ≥ 3")
    assert not is_drawable("日本")
