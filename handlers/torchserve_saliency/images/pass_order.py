"""The order of the two passes in which the installed Pillow resizes a picture; it differs between its releases."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from PIL import Image

Resampling = Image.Resampling
Rule = Callable[[tuple[int, int], tuple[int, int]], bool]
"""Tells for a size and a resized size, (width, height) each, if the height is resized before the width."""


def _never(size: tuple[int, int], scaled: tuple[int, int]) -> bool:
    """Tell if Pillow 10 resizes the height first: it does not."""
    return False


def _tall_by_hundred(size: tuple[int, int], scaled: tuple[int, int]) -> bool:
    """Tell if Pillow 12 resizes the height first."""
    return size[1] > 100 * size[0] and scaled[1] < size[1]


def _shrinks_twice_as_much(size: tuple[int, int], scaled: tuple[int, int]) -> bool:
    """Tell if Pillow 13 resizes the height first."""
    return size[1] > scaled[1] and size[1] - scaled[1] > 2 * (size[0] - scaled[0])


PROBES = (((8, 60), (5, 20)), ((30, 24), (9, 18)), ((3, 301), (2, 100)), ((24, 24), (30, 10)), ((12, 20), (6, 10)))


@cache
def vertical_first_rule() -> Rule | None:
    """Return the rule by which the installed Pillow resizes the height before the width; None if it is unknown."""
    for rule in (_shrinks_twice_as_much, _tall_by_hundred, _never):
        if all(_follows(rule, size, scaled) for size, scaled in PROBES):
            return rule
    return None


def _follows(rule: Rule, size: tuple[int, int], scaled: tuple[int, int]) -> bool:
    """Tell if Pillow resizes noise of this size as the rule says."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0]), np.uint8))
    between = (size[0], scaled[1]) if rule(size, scaled) else (scaled[0], size[1])
    passes = noise.resize(between, Resampling.BICUBIC).resize(scaled, Resampling.BICUBIC)
    return passes.tobytes() == noise.resize(scaled, Resampling.BICUBIC).tobytes()
