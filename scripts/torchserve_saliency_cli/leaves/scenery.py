"""Backgrounds of the leaf: soil, grass, sky, wood, concrete, other leaves, paper."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

from torchserve_saliency_cli.leaves.fields import (
    SIZE,
    Field,
    between,
    blend,
    bump,
    colour,
    grid,
    layered,
    ramp,
    smooth,
    window,
)
from torchserve_saliency_cli.leaves.shapes import Shape, outline, places, shape_at

FINE = 2


@dataclass(frozen=True)
class Scenery:
    """A background: its colours `ground` [H, W, 3], its blur in pixels, and the strength of the leaf's shadow on it.

    The strength is 0 for the sky.
    """

    ground: Field
    blur: float
    shadow: float


def scenery(rng: Generator) -> Scenery:
    """Return a background of a random kind."""
    kinds = tuple(BACKGROUNDS)
    kind = kinds[int(rng.integers(len(kinds)))]
    nearest, farthest, shadow = FOCUS[kind]
    return Scenery(BACKGROUNDS[kind](rng), rng.uniform(nearest, farthest), shadow)


def _filled(rgb: Field) -> Field:
    return np.broadcast_to(rgb, (SIZE, SIZE, 3)).astype(np.float32)


def _lit(ground: Field, relief: Field, strength: float) -> Field:
    """Return the ground [H, W, 3] with its relief [H, W] lit from the upper left."""
    down, right = np.gradient(relief)
    light = np.asarray(1 + strength * np.clip(-(down + right), -0.5, 0.6), np.float32)
    return ground * light[..., None]


def _soil(rng: Generator) -> Field:
    clods, fine = layered(rng, 14, 4), smooth(rng, 110)
    ground = _filled(between(rng, (0.20, 0.14, 0.09), (0.42, 0.31, 0.21)))
    ground = blend(ground, colour(0.09, 0.06, 0.04), ramp(0.55, 0.3, clods))
    ground = _lit(ground * (0.8 + 0.4 * fine)[..., None], clods, 7.0)
    for _ in range(int(rng.integers(4, 18))):
        _pebble(ground, rng, between(rng, (0.30, 0.27, 0.24), (0.62, 0.58, 0.52)), rng.uniform(2, 8))
    return _straws(ground, rng, int(rng.integers(0, 9)))


def _pebble(ground: Field, rng: Generator, tint: Field, radius: float) -> None:
    x, y = rng.uniform(0, SIZE, 2)
    spot = window(float(x), float(y), radius * 1.8)
    along, across = spot.turned(rng.uniform(0, np.pi))
    flat = rng.uniform(0.9, 1.4)
    r = np.asarray(np.hypot(along / flat, across * flat) / radius, np.float32)
    ground[spot.at] *= (1 - 0.5 * ramp(1.6, 0.8, r))[..., None]
    light = 0.75 - 0.4 * (spot.x + spot.y) / radius / 1.5
    ground[spot.at] = blend(ground[spot.at], tint * light[..., None], ramp(1.05, 0.9, r))


def _straws(ground: Field, rng: Generator, count: int) -> Field:
    image, draw = _canvas(ground)
    for _ in range(count):
        x, y = rng.uniform(0, SIZE, 2)
        a, half = rng.uniform(0, np.pi), rng.uniform(8, 40)
        tint = _ink(between(rng, (0.45, 0.36, 0.20), (0.75, 0.66, 0.42)))
        ends = [(x - half * np.cos(a), y - half * np.sin(a)), (x + half * np.cos(a), y + half * np.sin(a))]
        draw.line([(px * FINE, py * FINE) for px, py in ends], fill=tint, width=int(rng.integers(2, 5)))
    return _flatten(image)


def _canvas(ground: Field) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    small = Image.fromarray((np.clip(ground, 0, 1) * 255).astype(np.uint8))
    image = small.resize((SIZE * FINE, SIZE * FINE), Image.Resampling.BILINEAR)
    return image, ImageDraw.Draw(image)


def _flatten(image: Image.Image) -> Field:
    return np.asarray(image.reduce(FINE), dtype=np.float32) / np.float32(255)


def _ink(rgb: Field) -> tuple[int, int, int]:
    r, g, b = (np.clip(rgb, 0, 1) * 255).astype(int).tolist()
    return int(r), int(g), int(b)


def _grass(rng: Generator) -> Field:
    dark = between(rng, (0.05, 0.11, 0.03), (0.12, 0.19, 0.06))
    image, draw = _canvas(_filled(dark) * (0.6 + 0.8 * layered(rng, 6, 2))[..., None])
    lean, blades = rng.uniform(-0.6, 0.6), int(rng.integers(150, 230))
    for step in range(blades):
        depth = step / blades
        x, y = rng.uniform(-20, SIZE + 20), rng.uniform(20, SIZE + 60)
        tall, a = rng.uniform(40, 120), lean + rng.normal(0, 0.35)
        tint = between(rng, (0.16, 0.32, 0.08), (0.45, 0.60, 0.20)) * np.float32(0.4 + 0.6 * depth)
        _blade_of_grass(draw, x, y, tall, a, rng.uniform(1.2, 3.4), _ink(tint))
    return _flatten(image)


def _blade_of_grass(
    draw: ImageDraw.ImageDraw, x: float, y: float, tall: float, lean: float, wide: float, ink: tuple[int, int, int]
) -> None:
    middle = (x + tall * 0.5 * np.sin(lean * 0.6), y - tall * 0.5)
    tip = (x + tall * np.sin(lean), y - tall * np.cos(lean))
    left, right = (middle[0] - wide * 0.8, middle[1]), (middle[0] + wide * 0.8, middle[1])
    points = [(x - wide, y), left, tip, right, (x + wide, y)]
    draw.polygon([(float(px * FINE), float(py * FINE)) for px, py in points], fill=ink)


def _bokeh(rng: Generator) -> Field:
    y, x = grid()
    top = between(rng, (0.45, 0.62, 0.85), (0.75, 0.85, 0.95))
    bottom = between(rng, (0.25, 0.38, 0.16), (0.80, 0.82, 0.70))
    slope = ramp(0.0, 1.0, y / SIZE + (x / SIZE - 0.5) * rng.uniform(-0.6, 0.6))
    ground = blend(_filled(top), bottom, slope)
    ground = blend(ground, between(rng, (0.12, 0.25, 0.08), (0.40, 0.52, 0.22)), ramp(0.5, 0.7, layered(rng, 3, 2)))
    for _ in range(int(rng.integers(12, 34))):
        _disc(ground, rng)
    return ground


def _disc(ground: Field, rng: Generator) -> None:
    radius = rng.uniform(5, 24)
    cx, cy = rng.uniform(0, SIZE, 2)
    spot = window(float(cx), float(cy), radius + 2)
    r = spot.radius / np.float32(radius)
    first, second = ((0.95, 0.95, 0.85), (0.55, 0.68, 0.25)) if rng.random() < 0.8 else ((0.9, 0.75, 0.4), (1, 1, 1))
    tint = between(rng, first, second)
    alpha = ramp(1.06, 0.94, r) * (0.75 + 0.25 * bump(r, 0.95, 0.1)) * np.float32(rng.uniform(0.12, 0.5))
    ground[spot.at] = blend(ground[spot.at], tint, alpha)


def _wood(rng: Generator) -> Field:
    y, x = grid()
    tint, planks = between(rng, (0.36, 0.24, 0.14), (0.72, 0.58, 0.42)), rng.uniform(38, 110)
    if rng.random() < 0.3:
        tint = between(rng, (0.45, 0.43, 0.40), (0.66, 0.64, 0.60))
    fibre, warp = smooth(rng, 130, 5), layered(rng, 3, 2)
    board = np.floor((y + rng.uniform(0, planks)) / planks)
    rings = np.sin((y * 0.16 + warp * 14 + board * 2.3) * rng.uniform(1.2, 2.6)) * 0.5 + 0.5
    gap = np.minimum((y + 0.0) % planks, planks - (y % planks)) + 0 * x
    tone = 0.72 + 0.24 * fibre + 0.16 * rings + 0.09 * np.sin(board * 5.1)
    ground = _filled(tint) * tone[..., None]
    ground = blend(ground, colour(0.07, 0.05, 0.03), bump(gap, 0, 1.4) * 0.9)
    for _ in range(int(rng.integers(0, 3))):
        _knot(ground, rng, tint)
    return np.asarray(ground.transpose(1, 0, 2), np.float32) if rng.random() < 0.5 else ground


def _knot(ground: Field, rng: Generator, tint: Field) -> None:
    radius = rng.uniform(5, 13)
    cx, cy = rng.uniform(0, SIZE, 2)
    spot = window(float(cx), float(cy), radius * 3)
    r = np.asarray(np.hypot(spot.x / 1.5, spot.y) / radius, np.float32)
    tone = np.asarray(0.75 + 0.25 * np.cos(r * 9), np.float32)
    rings = tint * colour(0.6, 0.5, 0.45) * tone[..., None]
    ground[spot.at] = blend(ground[spot.at], rings, ramp(1.5, 0.7, r) * 0.85)


def _concrete(rng: Generator) -> Field:
    stains, fine = layered(rng, 4, 4), smooth(rng, 112)
    ground = _filled(between(rng, (0.42, 0.42, 0.42), (0.78, 0.76, 0.72))) * (0.75 + 0.5 * stains)[..., None]
    ground = _lit(ground, fine, rng.uniform(0.15, 0.5))
    pits = (smooth(rng, 75) > 0.86) * 0.5
    ground = blend(ground, colour(0.22, 0.21, 0.20), pits)
    return _cracked(ground, rng) if rng.random() < 0.5 else ground


def _cracked(ground: Field, rng: Generator) -> Field:
    image, draw = _canvas(ground)
    steps = rng.normal(0, 9, (26, 1)).cumsum(0) + rng.uniform(0, SIZE)
    path = [(float(i * 9 * FINE), float(step[0] * FINE)) for i, step in enumerate(steps)]
    flip = rng.random() < 0.5
    draw.line([(b, a) if flip else (a, b) for a, b in path], fill=(45, 42, 40), width=2)
    return _flatten(image)


def _foliage(rng: Generator) -> Field:
    dark = between(rng, (0.04, 0.08, 0.03), (0.10, 0.16, 0.06))
    image, draw = _canvas(_filled(dark) * (0.6 + 0.8 * layered(rng, 4, 2))[..., None])
    count = int(rng.integers(14, 26))
    for step in range(count):
        depth = 0.35 + 0.65 * step / count
        _far_leaf(draw, rng, between(rng, (0.13, 0.30, 0.09), (0.38, 0.54, 0.18)) * np.float32(depth))
    return _flatten(image)


def _far_leaf(draw: ImageDraw.ImageDraw, rng: Generator, tint: Field) -> None:
    x, y = rng.uniform(-10, SIZE + 10, 2)
    shape = shape_at(rng, float(x), float(y), rng.uniform(0, 2 * np.pi), rng.uniform(70, 150))
    near, far = (1.12, 0.86) if rng.random() < 0.5 else (0.86, 1.12)
    draw.polygon(outline(shape, FINE, (-1,)), fill=_ink(tint * near))
    draw.polygon(outline(shape, FINE, (1,)), fill=_ink(tint * far))
    vein = _ink(tint * 1.35 + 0.03)
    along = np.linspace(0, 0.8, 8, dtype=np.float32)
    roots, left, right = (_fine(shape, along + 0.14 * abs(side), side) for side in (0, -0.85, 0.85))
    draw.line([*roots, *_fine(shape, np.ones(1, np.float32), 0)], fill=vein, width=3)
    for root, *ends in zip(roots, left, right, strict=True):
        for end in ends:
            draw.line([root, end], fill=vein, width=1)


def _fine(shape: Shape, along: Field, side: float) -> list[tuple[float, float]]:
    """Return positions on a leaf as points of the finer canvas."""
    x, y = places(shape, along, np.full_like(along, side))
    return list(zip((x * FINE).tolist(), (y * FINE).tolist(), strict=True))


def _paper(rng: Generator) -> Field:
    fibres, light = smooth(rng, 100), smooth(rng, 2)
    tint = between(rng, (0.62, 0.62, 0.66), (0.93, 0.92, 0.88))
    return np.asarray(_filled(tint) * (0.82 + 0.22 * light + 0.05 * fibres)[..., None], np.float32)


BACKGROUNDS: Mapping[str, Callable[[Generator], Field]] = {
    "soil": _soil,
    "grass": _grass,
    "sky": _bokeh,
    "wood": _wood,
    "concrete": _concrete,
    "leaves": _foliage,
    "paper": _paper,
}

FOCUS: Mapping[str, tuple[float, float, float]] = {
    "soil": (0.0, 0.6, 1.0),
    "grass": (0.5, 3.5, 0.6),
    "sky": (2.5, 5.0, 0.0),
    "wood": (0.0, 0.6, 1.0),
    "concrete": (0.0, 0.6, 1.0),
    "leaves": (0.8, 4.0, 0.5),
    "paper": (0.0, 0.4, 1.0),
}
