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

Map = NDArray[np.float32]
Size = tuple[int, int]
PixelBox = tuple[int, int, int, int]
Kind = Callable[[Map, Image.Image, PixelBox, View], Image.Image]

# Smoothing for display, in shares of the width: the grain of an input gradient hides where it is.
FINE = 0.015
COARSE = 0.03
LEVELS = (0.35, 0.6, 0.85)  # of the isolines, in shares of the display range
BICUBIC = Image.Resampling.BICUBIC


def draw(saliency: Map, picture: NDArray[np.uint8], view: View, inside: PixelBox | None) -> Image.Image:
    """Return the view's picture of a finite map, [H, W] or [3, H, W], over RGB pixels [H, W, 3].

    `inside` is the (left, top, right, bottom) that the network saw, None where it saw all: what is inside
    alone sets the colours. Outside, a heatmap is transparent, a masked picture dark, any other the picture.
    """
    if saliency.ndim == 3 and len(saliency) != 3:
        said = f"three channels can be shown as colour, not {len(saliency)}; ask for another reduce"
        raise bad_option("reduce", said)
    left, top, right, bottom = box = inside or (0, 0, picture.shape[1], picture.shape[0])
    return KINDS[view.render](saliency[..., top:bottom, left:right], Image.fromarray(picture), box, view)


def beside(images: Sequence[Image.Image]) -> Image.Image:
    """Return pictures of one size side by side, without a gap, so that equal widths cut them apart again."""
    mode = "RGBA" if any(image.mode == "RGBA" for image in images) else "RGB"
    row = Image.new(mode, (sum(image.width for image in images), max(image.height for image in images)))
    left = 0
    for image in images:
        row.paste(image.convert(mode), (left, 0))
        left += image.width
    return row


def _heatmap(seen: Map, picture: Image.Image, box: PixelBox, view: View) -> Image.Image:
    """Return the colours of the map as it is, unsmoothed; transparent outside the box."""
    colours = Image.fromarray(paint(shade(seen, view, _signed(seen)), view.colormap))
    if colours.size == picture.size:
        return colours
    sheet = Image.new("RGBA", picture.size)
    sheet.paste(colours, box)
    return sheet


def _overlay(seen: Map, picture: Image.Image, box: PixelBox, view: View) -> Image.Image:
    """Return the picture greyed and dimmed under the smoothed map's colours, opaque by `alpha` × value."""
    shades = _smoothed(seen, FINE, view)
    part = picture.crop(box)
    colours = Image.fromarray(paint(shades.vivid(), view.colormap)).resize(part.size, BICUBIC)
    painted = Image.composite(colours, _faint(part), _mask(shades.strength * view.alpha, part.size))
    return _replaced(picture, painted, box)


def _side_by_side(seen: Map, picture: Image.Image, box: PixelBox, view: View) -> Image.Image:
    """Return the picture, the heatmap and the overlay, three widths in all."""
    return beside([picture, _heatmap(seen, picture, box, view), _overlay(seen, picture, box, view)])


def _masked(seen: Map, picture: Image.Image, box: PixelBox, view: View) -> Image.Image:
    """Return the picture where the smoothed map is large, of whatever sign; blurred and dark elsewhere."""
    ramp = np.clip((_smoothed(seen, COARSE, view).strength - 0.2) / 0.4, 0, 1)
    left, top, right, bottom = box
    keep = Image.new("L", picture.size)
    keep.paste(_mask(ramp * ramp * (3 - 2 * ramp), (right - left, bottom - top)), box)
    return Image.composite(picture, _dark(picture), keep)


def _contours(seen: Map, picture: Image.Image, box: PixelBox, view: View) -> Image.Image:
    """Return the picture with the smoothed map's isolines at LEVELS, each in its value's colour."""
    shades = _smoothed(seen, COARSE, view)
    flat = shades if shades.values.ndim == 2 else Shades(shades.strength, False)
    part = picture.crop(box)
    for level, line, edge in _isolines(flat, part.size):
        dot = Shades(np.full((1, 1), level, np.float32), flat.signed)
        red, green, blue = paint(dot.vivid(), view.colormap)[0, 0].tolist()
        light = 0.3 * red + 0.6 * green + 0.1 * blue > 150
        part.paste((0, 0, 0) if light else (255, 255, 255), mask=edge)
        part.paste((red, green, blue), mask=line)
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


def _signed(seen: Map) -> bool:
    """Return whether any value of a map is below 0."""
    return bool(seen.min() < 0)


def _smoothed(seen: Map, sigma: float, view: View) -> Shades:
    """Return a map smoothed and in its display range, signed as the map itself is."""
    return shade(smooth(seen, sigma), view, _signed(seen))


def _isolines(shades: Shades, size: Size) -> Iterator[tuple[float, Image.Image, Image.Image]]:
    """Yield each level with the opacity of its line, and of the wider edge behind it, at (width, height).

    The distance of a pixel to a line is its difference from the level over the slope there, so the lines come
    out antialiased and equally wide. Those of a large picture are drawn smaller and enlarged.
    """
    shrink = max(1.0, max(size) / (2 * FINEST))
    values = resize(shades.values, (max(2, round(size[0] / shrink)), max(2, round(size[1] / shrink))))
    slope = np.hypot(*np.gradient(values)) + np.float32(1e-6)
    reach = max(1.0, max(values.shape) / 160) / 2
    for level in [-level for level in LEVELS if shades.signed] + list(LEVELS):
        distance = np.abs(values - np.float32(level)) / slope
        line, edge = (np.clip(width + 0.5 - distance, 0, 1) for width in (reach, 2.2 * reach))
        yield level, _mask(line, size), _mask(0.6 * edge, size)


def _faint(picture: Image.Image) -> Image.Image:
    """Return the picture with most of its colour and a fifth of its light taken away."""
    grey = picture.convert("L").convert("RGB")
    return Image.blend(picture, grey, 0.7).point(lambda value: value * 0.8)


def _dark(picture: Image.Image) -> Image.Image:
    """Return the picture blurred by 2 % of its longer side, at less than a third of its light."""
    small = picture.copy()
    small.thumbnail((FINEST, FINEST))
    blurred = small.filter(ImageFilter.GaussianBlur(0.02 * max(small.size)))
    return blurred.point(lambda value: value * 0.3).resize(picture.size, BICUBIC)


def _mask(opacity: Map, size: Size) -> Image.Image:
    """Return opacities [h, w] in 0 to 1 as a greyscale picture of (width, height)."""
    return Image.fromarray(np.rint(opacity * 255).astype(np.uint8)).resize(size, BICUBIC)


def _replaced(picture: Image.Image, part: Image.Image, box: PixelBox) -> Image.Image:
    """Return the picture with what is inside the box replaced."""
    whole = picture.copy()
    whole.paste(part, box)
    return whole
