"""Saliency values to colours: the display range, colormaps by name, and the paint."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from saliency.errors import bad_option
from saliency.explanation import View

SEQUENTIAL = "inferno"  # perceptually uniform, black at 0
DIVERGING = "bwr"  # blue below 0, white at 0, red above


@dataclass(frozen=True)
class Shades:
    """A map in its display range: float32 [h, w] or [3, h, w], in 0 to 1, or in −1 to 1 where `signed`."""

    values: NDArray[np.float32]
    signed: bool

    @property
    def strength(self) -> NDArray[np.float32]:
        """Return how much each pixel matters, of whatever sign and channel: float32 [h, w] in 0 to 1."""
        size = np.abs(self.values)
        return size if size.ndim == 2 else size.max(axis=0)

    def vivid(self) -> Shades:
        """Return a signed map without the pale middle of its colours, which would veil a picture beneath."""
        lifted = np.copysign(0.4 + 0.6 * np.abs(self.values), self.values)
        return Shades(lifted, True) if self.signed and self.values.ndim == 2 else self


def check_colormap(name: str) -> str:
    """Return Matplotlib's own spelling of a colormap named in any case; 400 with near matches otherwise."""
    from matplotlib import colormaps  # takes 0.1 s, and the plain JSON answer needs no colours

    known = {canonical.casefold(): canonical for canonical in colormaps}
    if name.casefold() in known:
        return known[name.casefold()]
    near = [repr(known[match]) for match in get_close_matches(name[:40].casefold(), known, n=3)]
    hint = f"did you mean {' or '.join(near)}?" if near else "Matplotlib's are known, such as 'viridis'"
    raise bad_option("colormap", f"no colormap is named {name[:40]!r}; {hint}")


def lookup(name: str) -> NDArray[np.uint8]:
    """Return the colours of a colormap from its lower to its upper end: uint8 [256, 3]."""
    from matplotlib import colormaps

    table = colormaps[check_colormap(name)](np.linspace(0, 1, 256), bytes=True)
    return np.ascontiguousarray(table[:, :3], dtype=np.uint8)


def shade(saliency: NDArray[np.float32], view: View, signed: bool) -> Shades:
    """Return a finite map in its display range, between the view's `floor` and `clip` percentiles.

    A signed map's range is symmetric about 0, of percentiles of its magnitudes, and begins at 0 where there
    is no `floor`. An unsigned map that is the same everywhere comes back empty.
    """
    size = np.abs(saliency)
    size /= size.max() or 1  # from here on neither huge nor denormal values overflow or vanish
    low, high = np.percentile(size, (view.floor, view.clip))
    if signed and view.floor == 0:
        low = 0
    if high <= low:  # so few pixels differ from the rest that the percentiles miss them
        high = size.max()
    size -= np.float32(low)
    size /= np.float32(high - low) or 1
    np.clip(size, 0, 1, out=size)
    return Shades(np.copysign(size, saliency) if signed else size, signed)


def paint(shades: Shades, name: str | None) -> NDArray[np.uint8]:
    """Return a map's colours, uint8 [h, w, 3]; three channels are a colour, grey at 0 where signed."""
    level = shades.values * 0.5 + 0.5 if shades.signed else shades.values
    index = np.rint(level * 255).astype(np.uint8)
    if index.ndim == 3:
        return np.ascontiguousarray(np.moveaxis(index, 0, -1))
    colours: NDArray[np.uint8] = lookup(name or (DIVERGING if shades.signed else SEQUENTIAL))[index]
    return colours
