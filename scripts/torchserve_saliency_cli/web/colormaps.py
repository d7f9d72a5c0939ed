"""The colours that the page offers: some of Matplotlib's colormaps."""

from __future__ import annotations

from base64 import b64encode
from functools import cache

import numpy as np

# The first one is the server's own for maps without negative values, bwr that for maps with them.
NAMES = ("inferno", "viridis", "magma", "cividis", "gray", "turbo", "bwr", "coolwarm", "PiYG")


@cache
def colormaps() -> dict[str, str]:
    """Return the 256 colours of each colormap, from its lower to its upper end, as base64 of RGB bytes."""
    from matplotlib import colormaps as known  # takes 0.1 s, and the first page does not wait for it

    steps = np.linspace(0, 1, 256)
    return {name: b64encode(known[name](steps, bytes=True)[:, :3].tobytes()).decode("ascii") for name in NAMES}
