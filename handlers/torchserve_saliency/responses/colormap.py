"""Saliency values to colours: the display range of a map, and the colormaps of Matplotlib."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from torchserve_saliency.errors import bad_option
from torchserve_saliency.responses.explanation import View
from torchserve_saliency.spelling import find_spelling, similar_names

SEQUENTIAL = "inferno"  # perceptually uniform, black at 0
DIVERGING = "bwr"  # blue below 0, white at 0, red above


@dataclass(frozen=True)
class Shades:
    """A map scaled to its display range: float32 [h, w] or [3, h, w], from 0 to 1, or from −1 to 1 if `signed`."""

    values: NDArray[np.float32]
    signed: bool

    @property
    def strength(self) -> NDArray[np.float32]:
        """Return the magnitude of each pixel, the largest of its channels: float32 [h, w] from 0 to 1."""
        size = np.abs(self.values)
        return size if size.ndim == 2 else size.max(axis=0)

    def vivid(self) -> Shades:
        """Return a signed map with magnitudes of at least 0.4, as paler colours would hide the picture below."""
        lifted = np.copysign(0.4 + 0.6 * np.abs(self.values), self.values)
        return Shades(lifted, True) if self.signed and self.values.ndim == 2 else self


def check_colormap(name: str) -> str:
    """Return Matplotlib's spelling of a colormap; raise RequestError 400, with similar names, if there is none."""
    from matplotlib import colormaps  # takes 0.1 s, and the plain JSON answer needs no colours

    if found := find_spelling(name, colormaps):
        return found
    near = [repr(match) for match in similar_names(name[:40], colormaps)]
    hint = f"did you mean {' or '.join(near)}?" if near else "it must be one of Matplotlib's, such as 'viridis'"
    raise bad_option("colormap", f"no colormap is named {name[:40]!r}; {hint}")


def lookup(name: str) -> NDArray[np.uint8]:
    """Return the 256 colours of a colormap, from its lower to its upper end: uint8 [256, 3]."""
    from matplotlib import colormaps

    table = colormaps[check_colormap(name)](np.linspace(0, 1, 256), bytes=True)
    return np.ascontiguousarray(table[:, :3], dtype=np.uint8)


def shade(saliency: NDArray[np.float32], view: View, signed: bool) -> Shades:
    """Return a finite map scaled to its display range, from its `floor` to its `clip` percentile.

    The percentiles are those of the magnitudes, and the range of a signed map is symmetric about 0; if its `floor` is
    0, the range starts at magnitude 0. A constant unsigned map becomes 0 everywhere.
    """
    size = np.abs(saliency)
    size /= size.max() or 1  # so that no huge or denormal value can overflow or vanish below
    low, high = _display_range(size, view, signed)
    size -= np.float32(low)
    size /= np.float32(high - low) or 1
    np.clip(size, 0, 1, out=size)
    return Shades(np.copysign(size, saliency) if signed else size, signed)


def _display_range(size: NDArray[np.float32], view: View, signed: bool) -> tuple[float, float]:
    """Return the magnitudes at the lower and the upper end of the colours."""
    low, high = np.percentile(size, (view.floor, view.clip))
    if signed and view.floor == 0:
        low = 0
    if high <= low:  # too few pixels differ from the rest to move a percentile
        high = size.max()
    return float(low), float(high)


@dataclass(frozen=True)
class ColourScale:
    """The colours of a map, uint8 [256, 3], from those of its value `low` to those of `high`."""

    colours: NDArray[np.uint8]
    low: float
    high: float


def colour_scale(
    values: NDArray[np.float32], view: View, signed: bool, unit: float = 1.0, vivid: bool = False
) -> ColourScale:
    """Return the colours of a map [h, w] with values in multiples of `unit`; `vivid` if they lie on a picture."""
    size = np.abs(values)
    peak = float(size.max())
    low, high = _display_range((size / (peak or 1)).astype(np.float32), view, signed)
    steps = np.linspace(-1 if signed else 0, 1, 256, dtype=np.float32)[None]
    shades = Shades(steps, signed)
    colours = paint(shades.vivid() if vivid else shades, view.colormap)[0]
    return ColourScale(colours, -high * peak * unit if signed else low * peak * unit, high * peak * unit)


def paint(shades: Shades, name: str | None) -> NDArray[np.uint8]:
    """Return the colours of a map, uint8 [h, w, 3]; three channels are red, green and blue, and grey at 0 if signed."""
    level = shades.values * 0.5 + 0.5 if shades.signed else shades.values
    index = np.rint(level * 255).astype(np.uint8)
    if index.ndim == 3:
        return np.ascontiguousarray(np.moveaxis(index, 0, -1))
    colours: NDArray[np.uint8] = lookup(name or (DIVERGING if shades.signed else SEQUENTIAL))[index]
    return colours
