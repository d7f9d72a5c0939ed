"""D5: JPEG and WebP answers of drawn maps."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image

from tests.answers import LIMIT, make_explanation
from tests.drawing import colourful
from tests.networks import Modules, classifier, made
from tests.test_explainer import picture
from tests.test_handler import EXPLAIN, ask, handler
from torchserve_saliency.errors import RequestError
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.images.pixel_modes import on_white
from torchserve_saliency.responses.drawing import draw_target
from torchserve_saliency.responses.encoding import encode
from torchserve_saliency.responses.explanation import View
from torchserve_saliency.responses.photo_formats import to_photo

__all__ = ["handler"]
FORMATS = ("jpeg", "webp")


def photograph(width: int = 4_000, height: int = 3_000) -> bytes:
    """Return a JPEG of 12 megapixels with detail and noise at all scales."""
    random = np.random.default_rng(0)
    total = np.zeros((height, width, 3), np.float32)
    for scale in (4, 40, 400):
        cells = random.normal(size=(height // scale + 1, width // scale + 1, 3))
        planes = (Image.fromarray(cells[..., c].astype(np.float32)) for c in range(3))
        rows = [np.asarray(plane.resize((width, height))) for plane in planes]
        total += np.stack(rows, -1) * (8 + scale**0.5)
    total += random.normal(scale=4, size=total.shape)
    file = io.BytesIO()
    Image.fromarray((total + 128).clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=92)
    return file.getvalue()


@pytest.mark.parametrize("name", FORMATS)
def test_d5_a_photo_has_the_pixels_of_the_png(name: str) -> None:
    response = encode(make_explanation(view=View(render="overlay"), form=name), LIMIT)
    image = Image.open(io.BytesIO(response.body))
    assert (response.content_type, response.status) == (f"image/{name}", 200)
    assert (image.format, image.mode, image.size) == (name.upper(), "RGB", (16, 16))
    exact = colourful(200, 300)
    photo = np.asarray(Image.open(io.BytesIO(to_photo(Image.fromarray(exact), name, LIMIT))), float)
    assert np.abs(photo - exact).mean() < 1


@pytest.mark.parametrize("name", FORMATS)
def test_d5_transparent_pixels_are_white(name: str) -> None:
    maps = [np.random.default_rng(1).random((24, 32), np.float32)]
    response = encode(make_explanation(*maps, view=View(space="original"), form=name), LIMIT)
    pixels = np.asarray(Image.open(io.BytesIO(response.body)))
    assert pixels.shape == (24, 32, 3)
    assert pixels[:, 30:].min() > 220


def test_d5_an_overlay_of_12_megapixels_in_its_own_space_is_well_below_the_limit() -> None:
    explainer = Explainer(classifier(made(Modules)))
    explanation = explainer.explain(photograph(), render="overlay", backdrop="color", space="original", format="png")
    with pytest.raises(RequestError) as caught:
        encode(explanation, LIMIT)
    assert caught.value.status == 413
    assert "ask for format jpeg or webp" in caught.value.message
    drawn = draw_target(explanation.maps[0], explanation)
    for name in FORMATS:
        body = to_photo(drawn, name, LIMIT)
        assert len(body) < 0.6 * LIMIT
        assert Image.open(io.BytesIO(body)).size == (4_000, 3_000)


@pytest.mark.parametrize("name", FORMATS)
def test_d5_the_accept_header_asks_for_the_format(name: str, handler: object) -> None:
    headers = {**EXPLAIN, "Accept": f"image/{name}"}
    (body,), context = ask(handler, (headers, {"body": picture(1)}))  # type: ignore[arg-type]
    assert context.sent[0]["content-type"] == f"image/{name}"
    assert Image.open(io.BytesIO(body)).format == name.upper()
    (body,), context = ask(handler, ({**EXPLAIN}, {"data": picture(1), "format": name.encode(), "render": b"none"}))  # type: ignore[arg-type]
    assert context.statuses == [400]
    assert json.loads(body)["option"] == "render"


def test_d5_a_side_that_the_format_cannot_hold_is_refused() -> None:
    wide = Image.new("RGB", (16_384, 2))
    assert to_photo(wide, "jpeg", LIMIT)
    with pytest.raises(RequestError) as caught:
        to_photo(wide, "webp", LIMIT)
    assert (caught.value.status, caught.value.option) == (413, "format")
    assert "16,383" in caught.value.message


def test_the_quality_falls_until_the_file_fits() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8))
    large, small = (len(to_photo(noise, "jpeg", limit)) for limit in (LIMIT, 40_000))
    assert small < 0.7 * large


def test_a_picture_without_transparency_is_unchanged() -> None:
    image = Image.new("RGB", (2, 2), (1, 2, 3))
    assert on_white(image).getpixel((0, 0)) == (1, 2, 3)
    assert on_white(Image.new("RGBA", (1, 1), (0, 0, 0, 0))).getpixel((0, 0)) == (255, 255, 255)
