"""Drawing a map: one function per option `render`, all in the table RENDERERS."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from torchserve_saliency.errors import bad_option
from torchserve_saliency.responses.colormap import ColourScale, Shades, colour_scale, paint, shade
from torchserve_saliency.responses.explanation import View
from torchserve_saliency.responses.image_grid import concatenate
from torchserve_saliency.responses.smoothing import FINEST, resize, smooth

Map = NDArray[np.float32]
Size = tuple[int, int]
PixelBox = tuple[int, int, int, int]
Renderer = Callable[[Map, Image.Image, PixelBox, View], Image.Image]

# Standard deviations of the smoothing, as fractions of the width: input gradients are too noisy to locate otherwise.
FINE = 0.015
COARSE = 0.03
PANELS: Mapping[str, tuple[str, ...]] = MappingProxyType({"side_by_side": ("picture", "heatmap", "overlay")})
LEVELS = (0.35, 0.6, 0.85)  # of the isolines, as fractions of the display range
BICUBIC = Image.Resampling.BICUBIC


def draw(saliency: Map, picture: NDArray[np.uint8], view: View, inside: PixelBox | None) -> Image.Image:
    """Return a picture of a finite map, [H, W] or [3, H, W], drawn over RGB pixels [H, W, 3].

    `inside` is the box (left, top, right, bottom) that the network saw, or None if it saw all. Only values inside
    determine the colours. Outside, a heatmap is transparent, a masked picture is dark, and the others show the
    picture. Raise RequestError 400 for a map of another number of channels.
    """
    if saliency.ndim == 3 and len(saliency) != 3:
        message = f"three channels can be shown as colour, not {len(saliency)}; ask for another reduce"
        raise bad_option("reduce", message)
    left, top, right, bottom = box = inside or (0, 0, picture.shape[1], picture.shape[0])
    return RENDERERS[view.render](saliency[..., top:bottom, left:right], Image.fromarray(picture), box, view)


def _heatmap(values: Map, picture: Image.Image, box: PixelBox, view: View) -> Image.Image:
    """Return the colours of the map, not smoothed; transparent outside the box."""
    colours = Image.fromarray(paint(shade(values, view, _signed(values)), view.colormap))
    if colours.size == picture.size:
        return colours
    whole = Image.new("RGBA", picture.size)
    whole.paste(colours, box)
    return whole


def _overlay(values: Map, picture: Image.Image, box: PixelBox, view: View) -> Image.Image:
    """Return the colours of the smoothed map, with opacity `alpha` × value, over the picture or its grey version."""
    shades = _smoothed(values, FINE, view)
    part = picture.crop(box)
    colours = Image.fromarray(paint(shades.vivid(), view.colormap)).resize(part.size, BICUBIC)
    below = part if view.backdrop == "color" else _dimmed(part)
    painted = Image.composite(colours, below, _mask(shades.strength * view.alpha, part.size))
    return _replaced(picture, painted, box)


def _side_by_side(values: Map, picture: Image.Image, box: PixelBox, view: View) -> Image.Image:
    """Return the picture, the heatmap and the overlay in a row."""
    return concatenate([picture, _heatmap(values, picture, box, view), _overlay(values, picture, box, view)])


def _masked(values: Map, picture: Image.Image, box: PixelBox, view: View) -> Image.Image:
    """Return the picture, blurred and dark except at large magnitudes of the smoothed map."""
    ramp = np.clip((_smoothed(values, COARSE, view).strength - 0.2) / 0.4, 0, 1)
    left, top, right, bottom = box
    keep = Image.new("L", picture.size)
    keep.paste(_mask(ramp * ramp * (3 - 2 * ramp), (right - left, bottom - top)), box)
    return Image.composite(picture, _darkened(picture), keep)


def _contours(values: Map, picture: Image.Image, box: PixelBox, view: View) -> Image.Image:
    """Return the picture with isolines of the smoothed map at LEVELS, each in the colour of its level."""
    shades = _smoothed(values, COARSE, view)
    flat = shades if shades.values.ndim == 2 else Shades(shades.strength, False)
    part = picture.crop(box)
    for level, line, edge in _isolines(flat, part.size):
        dot = Shades(np.full((1, 1), level, np.float32), flat.signed)
        red, green, blue = paint(dot.vivid(), view.colormap)[0, 0].tolist()
        light = 0.3 * red + 0.6 * green + 0.1 * blue > 150
        part.paste((0, 0, 0) if light else (255, 255, 255), mask=edge)
        part.paste((red, green, blue), mask=line)
    return _replaced(picture, part, box)


RENDERERS: Mapping[str, Renderer] = MappingProxyType(
    {
        "heatmap": _heatmap,
        "overlay": _overlay,
        "side_by_side": _side_by_side,
        "masked": _masked,
        "contours": _contours,
    }
)


def panel_scales(values: Map, view: View) -> tuple[tuple[str, ColourScale | None], ...]:
    """Return the name and the colours of each picture that a renderer draws of a map, from left to right."""
    if values.ndim == 3:
        return tuple((name, None) for name in PANELS.get(view.render, ("",)))
    peak = float(np.abs(values).max())

    def scale(name: str) -> ColourScale | None:
        if name in ("picture", "masked"):
            return None
        if name == "heatmap":
            return colour_scale(values, view, _signed(values))
        smoothed = smooth(values, FINE if name == "overlay" else COARSE)
        return colour_scale(smoothed, view, _signed(values), peak, vivid=True)

    if view.render in PANELS:
        return tuple((name, scale(name)) for name in PANELS[view.render])
    return (("", scale(view.render)),)


def _signed(values: Map) -> bool:
    """Return whether a map has negative values."""
    return bool(values.min() < 0)


def _smoothed(values: Map, sigma: float, view: View) -> Shades:
    """Return a map smoothed and scaled to its display range; it is signed if the original map is."""
    return shade(smooth(values, sigma), view, _signed(values))


def _isolines(shades: Shades, size: Size) -> Iterator[tuple[float, Image.Image, Image.Image]]:
    """Yield each level with the opacity of its line, and of the wider edge behind it, as pictures of (width, height).

    The distance of a pixel from a line is estimated as (value − level) / slope, so that lines are antialiased and
    equally wide. For a large picture, they are drawn smaller and then enlarged.
    """
    shrink = max(1.0, max(size) / (2 * FINEST))
    values = resize(shades.values, (max(2, round(size[0] / shrink)), max(2, round(size[1] / shrink))))
    slope = np.hypot(*np.gradient(values)) + np.float32(1e-6)
    reach = max(1.0, max(values.shape) / 160) / 2
    for level in [-level for level in LEVELS if shades.signed] + list(LEVELS):
        distance = np.abs(values - np.float32(level)) / slope
        line, edge = (np.clip(width + 0.5 - distance, 0, 1) for width in (reach, 2.2 * reach))
        yield level, _mask(line, size), _mask(0.6 * edge, size)


def _dimmed(picture: Image.Image) -> Image.Image:
    """Return the picture with 70 % less colour and 20 % less brightness."""
    grey = picture.convert("L").convert("RGB")
    return Image.blend(picture, grey, 0.7).point(lambda value: value * 0.8)


def _darkened(picture: Image.Image) -> Image.Image:
    """Return the picture blurred by 2 % of its longer side, at 30 % of its brightness."""
    small = picture.copy()
    small.thumbnail((FINEST, FINEST))
    blurred = small.filter(ImageFilter.GaussianBlur(0.02 * max(small.size)))
    return blurred.point(lambda value: value * 0.3).resize(picture.size, BICUBIC)


def _mask(opacity: Map, size: Size) -> Image.Image:
    """Return opacities [h, w] from 0 to 1 as a greyscale picture of (width, height)."""
    return Image.fromarray(np.rint(opacity * 255).astype(np.uint8)).resize(size, BICUBIC)


def _replaced(picture: Image.Image, part: Image.Image, box: PixelBox) -> Image.Image:
    """Return the picture with the inside of the box replaced by another picture."""
    whole = picture.copy()
    whole.paste(part, box)
    return whole
