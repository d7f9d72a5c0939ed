"""The caption of a drawn map: class, probability and method above it, the colour scale and the values below it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw

from torchserve_saliency.images.pixel_modes import on_white
from torchserve_saliency.methods.base import Shows
from torchserve_saliency.responses.colormap import ColourScale
from torchserve_saliency.responses.explanation import Explanation, Prediction, TargetMap
from torchserve_saliency.responses.lettering import font, is_drawable, width, wrapped

LEAST_WIDTH = 224  # pixels of a panel; smaller ones are enlarged by a whole factor
MOST_PIXELS = 16_000_000  # of an enlarged panel
LEAST_SIZE, PIXELS_PER_SIZE = 12, 30  # of the font: a thirtieth of the panel's width
INK, FAINT = (20, 20, 20), (110, 110, 110)


@dataclass(frozen=True)
class Panel:
    """One of the pictures side by side in a drawn map: its name, and the colours of its values if it has colours."""

    name: str = ""
    scale: ColourScale | None = None


def captioned(image: Image.Image, one: TargetMap, explanation: Explanation, panels: Sequence[Panel]) -> Image.Image:
    """Return a drawn map with its caption; `panels` describes the pictures of equal width in it, from left to right.

    Small pictures are enlarged by a whole factor, without smoothing. The captions of all targets of an explanation have
    the same height.
    """
    panel_width = image.width // len(panels)
    factor = _factor(panel_width, image.height)
    picture = on_white(image).resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    across = picture.width // len(panels)
    size = max(LEAST_SIZE, across // PIXELS_PER_SIZE)
    room = max(picture.width, LEAST_WIDTH)
    headers = [_header(each, explanation, size, room) for each in explanation.maps]
    header = next(lines for each, lines in zip(explanation.maps, headers, strict=True) if each is one)
    if len(panels) > 1:
        name = _class_name(one.target)
        panels = [replace(panel, name=f"{name}: {panel.name}") if panel.scale else panel for panel in panels]
    page = _Page(picture, size, room, max(map(len, headers)), panels)
    return page.drawn(header, panels, _values_line(one, explanation))


def _factor(panel_width: int, height: int) -> int:
    """Return the whole factor by which a panel is enlarged to LEAST_WIDTH, within MOST_PIXELS."""
    factor = -(-LEAST_WIDTH // panel_width)
    while factor > 1 and factor * factor * panel_width * height > MOST_PIXELS:
        factor -= 1
    return factor


def _header(one: TargetMap, explanation: Explanation, size: int, room: int) -> list[str]:
    """Return the lines above a map: the class with its probability, the class against it, the method."""
    score = explanation.parameters.get("score", "logit")
    method = explanation.method if score == "logit" else f"{explanation.method} of {score}"
    lines = wrapped(_class_text(one.target), size, room, 2)
    if one.against:
        lines += wrapped(f"against {_class_text(one.against)}", size, room, 2)
    return lines + wrapped(method, size, room, 2)


def _class_text(prediction: Prediction) -> str:
    """Return a class and its probability."""
    return f"{_class_name(prediction)} {100 * prediction.probability:.3g}%"


def _class_name(prediction: Prediction) -> str:
    """Return the label of a class, or its index if the font cannot show the label."""
    label = " ".join(prediction.label.split())
    return label if label and is_drawable(label) else f"class {prediction.index}"


def _values_line(one: TargetMap, explanation: Explanation) -> str:
    """Return the line with the least and the greatest value of a map."""
    if explanation.shows is Shows.INPUT:
        return ""
    if explanation.shows is Shows.CHANNELS:
        return f"{len(one.saliency)} channels, each with its own scale"
    low, high = float(one.saliency.min()), float(one.saliency.max())
    return f"least {low:.3g}, greatest {high:.3g}" if low or high else "the map is 0 everywhere"


class _Page:
    """A white page with room for a picture and its caption."""

    def __init__(self, picture: Image.Image, size: int, room: int, header_lines: int, panels: Sequence[Panel]) -> None:
        self._picture, self._size = picture, size
        self._line = round(size * 1.35)
        self._margin = size // 2
        self._left = self._margin + (room - picture.width) // 2
        named, scaled = any(panel.name for panel in panels), any(panel.scale for panel in panels)
        self._top = self._margin + round((header_lines + named + 0.3) * self._line)
        self._values_top = self._top + picture.height + round((2.2 if scaled else 0.3) * self._line)
        height = self._values_top + self._line + self._margin
        self._page = Image.new("RGB", (room + 2 * self._margin, height), "white")
        self._draw = ImageDraw.Draw(self._page)

    def drawn(self, header: Sequence[str], panels: Sequence[Panel], values: str) -> Image.Image:
        """Return the page with the picture, the header, the panels' names and scales, and the values."""
        for number, line in enumerate(header):
            self._text(self._margin, self._margin + number * self._line, line, INK)
        self._page.paste(self._picture, (self._left, self._top))
        across = self._picture.width // len(panels)
        bottom = self._top + self._picture.height
        for number, panel in enumerate(panels):
            left = self._left + number * across
            for name in wrapped(panel.name, self._size, across, 1):
                self._text(left, self._top - round(1.2 * self._line), name, FAINT)
            if panel.scale:
                inset = 0 if len(panels) == 1 else self._margin
                self._scale(left + inset, bottom + self._line // 3, across - 2 * inset, panel.scale)
        self._text(self._margin, self._values_top, values, FAINT)
        return self._page

    def _text(self, left: int, top: int, text: str, ink: tuple[int, int, int]) -> None:
        self._draw.text((left, top), text, ink, font(self._size))

    def _scale(self, left: int, top: int, across: int, scale: ColourScale) -> None:
        """Draw a bar of the colours, with the values of its ends below."""
        bar = Image.fromarray(np.repeat(scale.colours[None], max(2, self._line // 2), axis=0))
        self._page.paste(bar.resize((across, bar.height)), (left, top))
        low, high = f"{scale.low:.3g}", f"{scale.high:.3g}"
        below = top + bar.height + 1
        self._text(left, below, low, INK)
        self._text(left + across - width(high, self._size), below, high, INK)
