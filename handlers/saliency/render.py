"""Map to picture: one function a kind, all in the table KINDS."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from saliency.colormap import Shades, check_colormap, paint, shade
from saliency.errors import bad_option
from saliency.explanation import View
from saliency.smooth import FINEST, resize, smooth

__all__ = ["KINDS", "beside", "check_colormap", "draw"]

Pixels = NDArray[np.uint8]
Map = NDArray[np.float32]
PixelBox = tuple[int, int, int, int]
Size = tuple[int, int]
Kind = Callable[[Map, Image.Image, PixelBox, View], Image.Image]

# Smoothing for display, as shares of the width: an input gradient is too grainy to be read as it is.
FINE = 0.015
COARSE = 0.03
LEVELS = (0.35, 0.6, 0.85)  # the isolines, as shares of the display range


def draw(saliency: Map, picture: Pixels, view: View, inside: PixelBox | None) -> Image.Image:
    """Return the view's picture of a finite map, float32 [H, W] or [3, H, W], over the picture, uint8 [H, W, 3].

    `inside` is the (left, top, right, bottom) that the network saw, None where it saw all: the colours are scaled by
    what is inside alone. Outside, a heatmap is transparent, a masked picture dark and any other the plain picture.
    """
    if saliency.ndim == 3 and len(saliency) != 3:
        said = f"a picture shows maps of one or three channels, not of {len(saliency)}; reduce them, or ask for format npy"
        raise bad_option("reduce", said)
    left, top, right, bottom = box = inside or (0, 0, picture.shape[1], picture.shape[0])
    return KINDS[view.render](saliency[..., top:bottom, left:right], Image.fromarray(picture), box, view)


def beside(images: Sequence[Image.Image]) -> Image.Image:
    """Return pictures of one size side by side, without a gap, so that they can be cut apart at equal widths."""
    mode = "RGBA" if any(image.mode == "RGBA" for image in images) else "RGB"
    row = Image.new(mode, (sum(image.width for image in images), max(image.height for image in images)))
    left = 0
    for image in images:
        row.paste(image.convert(mode), (left, 0))
        left += image.width
    return row


def _heatmap(seen: Map, picture: Image.Image, box: PixelBox, view: View) -> Image.Image:
    """Return the colours of the map as it is, unsmoothed; transparent outside the box."""
    colours = Image.fromarray(paint(shade(seen, view), view.colormap))
    if colours.size == picture.size:
        return colours
    sheet = Image.new("RGBA", picture.size)
    sheet.paste(colours, box)
    return sheet


def _overlay(seen: Map, picture: Image.Image, box: PixelBox, view: View) -> Image.Image:
    """Return the picture greyed and dimmed with the smoothed map's colours on it, opaque by `alpha` times the value."""
    shades = shade(smooth(seen, FINE), view)
    under = picture.crop(box)
    colours = Image.fromarray(paint(shades.vivid(), view.colormap)).resize(under.size, Image.Resampling.BICUBIC)
    opacity = _mask(shades.strength * view.alpha, under.size)
    return _replaced(picture, Image.composite(colours, _faint(under), opacity), box)


def _side_by_side(seen: Map, picture: Image.Image, box: PixelBox, view: View) -> Image.Image:
    """Return the picture, the heatmap and the overlay, three widths in all."""
    return beside([picture, _heatmap(seen, picture, box, view), _overlay(seen, picture, box, view)])


def _masked(seen: Map, picture: Image.Image, box: PixelBox, view: View) -> Image.Image:
    """Return the picture where the smoothed map is high, in magnitude; blurred and dark elsewhere, with a soft edge."""
    strength = shade(smooth(seen, COARSE), view).strength
    ramp = np.clip((strength - 0.2) / 0.4, 0, 1)
    left, top, right, bottom = box
    keep = Image.new("L", picture.size)
    keep.paste(_mask(ramp * ramp * (3 - 2 * ramp), (right - left, bottom - top)), box)
    return Image.composite(picture, _dark(picture), keep)


def _contours(seen: Map, picture: Image.Image, box: PixelBox, view: View) -> Image.Image:
    """Return the picture with the smoothed map's isolines at LEVELS, each in its value's colour."""
    shades = shade(smooth(seen, COARSE), view)
    flat = shades if shades.values.ndim == 2 else Shades(shades.strength, False)
    part = picture.crop(box)
    for colour, line, edge in _isolines(flat, part.size, view.colormap):
        part.paste((0, 0, 0) if sum(colour) > 330 else (255, 255, 255), mask=edge)
        part.paste(colour, mask=line)
    return _replaced(picture, part, box)


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "heatmap": _heatmap,
        "overlay": _overlay,
        "side_by_side": _side_by_side,
        "masked": _masked,
        "contours": _contours,
    }
)


def _isolines(
    shades: Shades, size: Size, colormap: str | None
) -> Iterator[tuple[tuple[int, int, int], Image.Image, Image.Image]]:
    """Yield each level's colour, its line and the wider edge behind it, as opacities of (width, height).

    A pixel's distance to the line is its difference from the level over the slope there, so that lines come out
    antialiased and equally wide; large pictures get theirs enlarged.
    """
    fine = max(1.0, max(size) / (2 * FINEST))
    values = resize(shades.values, (max(2, round(size[0] / fine)), max(2, round(size[1] / fine))))
    slope = np.hypot(*np.gradient(values)) + np.float32(1e-6)
    reach = max(1.3, max(values.shape) / 160) / 2
    for level in [-level for level in LEVELS if shades.signed] + list(LEVELS):
        dot = Shades(np.full((1, 1), level, np.float32), shades.signed)
        red, green, blue = paint(dot.vivid(), colormap)[0, 0].tolist()
        distance = np.abs(values - np.float32(level)) / slope
        line, edge = (np.clip(width + 0.5 - distance, 0, 1) for width in (reach, 2.2 * reach))
        yield (red, green, blue), _mask(line, size), _mask(0.6 * edge, size)


def _faint(picture: Image.Image) -> Image.Image:
    """Return the picture with most of its colour and a fifth of its light taken away."""
    grey = picture.convert("L").convert("RGB")
    return Image.blend(picture, grey, 0.7).point(lambda value: value * 0.8)


def _dark(picture: Image.Image) -> Image.Image:
    """Return the picture blurred by 2 % of its longer side, at less than a third of its light."""
    small = picture.copy()
    small.thumbnail((FINEST, FINEST))
    blurred = small.filter(ImageFilter.GaussianBlur(0.02 * max(small.size)))
    return blurred.point(lambda value: value * 0.3).resize(picture.size, Image.Resampling.BICUBIC)


def _mask(opacity: Map, size: Size) -> Image.Image:
    """Return opacities [h, w] in 0 to 1 as a greyscale picture of (width, height)."""
    return Image.fromarray(np.rint(opacity * 255).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)


def _replaced(picture: Image.Image, part: Image.Image, box: PixelBox) -> Image.Image:
    """Return the picture with what is inside the box replaced."""
    whole = picture.copy()
    whole.paste(part, box)
    return whole
