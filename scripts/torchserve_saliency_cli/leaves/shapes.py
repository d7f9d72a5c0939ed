"""The blade of an apple leaf: its outline, and the position of each pixel on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

from torchserve_saliency_cli.leaves.fields import SIZE, Field, Values, grid

FINE = 4


@dataclass(frozen=True)
class Shape:
    """A leaf's geometry, with lengths in pixels and angles in radians.

    Widths are in leaf lengths: `left` and `right` are the largest half widths, `bend` is the deflection of the midrib.
    """

    x: float
    y: float
    angle: float
    length: float
    left: float
    right: float
    bend: float
    base: float
    tip: float
    teeth: int
    depth: float
    wave: float
    phase: float
    stalk: float
    veins: int
    slope: float


def random_shape(rng: Generator) -> Shape:
    """Return the shape of the main leaf: large, near the middle of the picture, in any direction."""
    angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(168, 218)
    shift = 0.04 * length
    x = SIZE / 2 + shift * np.cos(angle) + rng.normal(0, 6)
    y = SIZE / 2 + shift * np.sin(angle) + rng.normal(0, 6)
    return shape_at(rng, x, y, angle, length)


def shape_at(rng: Generator, x: float, y: float, angle: float, length: float) -> Shape:
    """Return a random leaf of the given position, direction and length."""
    half, lopsided = rng.uniform(0.27, 0.36), rng.normal(0, 0.05)
    return Shape(
        x=x,
        y=y,
        angle=angle,
        length=length,
        left=half * (1 + lopsided),
        right=half * (1 - lopsided),
        bend=rng.normal(0, 0.05),
        base=rng.uniform(0.5, 0.66),
        tip=rng.uniform(0.86, 1.1),
        teeth=int(rng.integers(22, 34)),
        depth=rng.uniform(0.03, 0.06),
        wave=rng.uniform(0.0, 0.05),
        phase=rng.uniform(0, 2 * np.pi),
        stalk=rng.uniform(-0.35, 0.35),
        veins=int(rng.integers(7, 11)),
        slope=rng.uniform(0.55, 0.95),
    )


def half_width(shape: Shape, along: Values) -> Field:
    """Return the blade's half width, relative to its maximum, at positions along the midrib in 0-1."""
    t: Field = np.clip(along, 0, 1).astype(np.float32)
    peak = shape.base / (shape.base + shape.tip)
    highest = peak**shape.base * (1 - peak) ** shape.tip
    return np.asarray(t**shape.base * (1 - t) ** shape.tip / highest, dtype=np.float32)


def midrib(shape: Shape, along: Values) -> Field:
    """Return the distance of the midrib from the straight axis, in leaf lengths."""
    return np.asarray(shape.bend * (1 - (2 * along - 1) ** 2) * (0.8 + 0.4 * along), dtype=np.float32)


def to_pixels(shape: Shape, along: Values, offset: Values) -> tuple[Field, Field]:
    """Return x and y in pixels of positions along and offset from the straight axis, in leaf lengths."""
    c, s = np.cos(shape.angle) * shape.length, np.sin(shape.angle) * shape.length
    x = shape.x + (along - 0.5) * c - offset * s
    y = shape.y + (along - 0.5) * s + offset * c
    return np.asarray(x, dtype=np.float32), np.asarray(y, dtype=np.float32)


def places(shape: Shape, along: Values, across: Values) -> tuple[Field, Field]:
    """Return x and y in pixels of positions on the blade.

    `across` is -1 at the left margin, 0 on the midrib and 1 at the right margin.
    """
    widest = np.where(across > 0, np.float32(shape.right), np.float32(shape.left))
    return to_pixels(shape, along, midrib(shape, along) + across * widest * half_width(shape, along))


def place(shape: Shape, along: float, across: float) -> tuple[float, float]:
    """Return x and y in pixels of one position on the blade."""
    x, y = places(shape, np.array([along], np.float32), np.array([across], np.float32))
    return float(x[0]), float(y[0])


@dataclass(frozen=True)
class Blade:
    """The position of every pixel on a leaf, in arrays [H, W].

    `along` is 0 at the base and 1 at the tip; `beside` is the distance from the midrib in leaf lengths, negative on the
    left; `across` is the same relative to the local half width; `cover` is the blade's opacity, with smooth edges.
    """

    shape: Shape
    along: Field
    beside: Field
    across: Field
    cover: Field


def blade(shape: Shape) -> Blade:
    """Return the position of each pixel on the leaf."""
    y, x = grid()
    c, s = np.float32(np.cos(shape.angle) / shape.length), np.float32(np.sin(shape.angle) / shape.length)
    dx, dy = x - np.float32(shape.x), y - np.float32(shape.y)
    along = dx * c + dy * s + np.float32(0.5)
    beside = dy * c - dx * s - midrib(shape, along)
    widest = np.where(beside > 0, np.float32(shape.right), np.float32(shape.left))
    across = beside / (widest * half_width(shape, along) + np.float32(1e-3))
    return Blade(shape, along, beside, np.asarray(across, np.float32), cover(shape))


def cover(shape: Shape) -> Field:
    """Return the blade's opacity [H, W] in 0-1, with antialiased edges."""
    canvas = Image.new("L", (SIZE * FINE, SIZE * FINE))
    ImageDraw.Draw(canvas).polygon(outline(shape, FINE), fill=255)
    return np.asarray(canvas.reduce(FINE), dtype=np.float32) / np.float32(255)


def outline(shape: Shape, scale: float = 1.0, sides: tuple[int, ...] = (-1, 1)) -> list[tuple[float, float]]:
    """Return the serrated outline as a polygon, in pixels times `scale`. A single side is closed by the midrib."""
    t = np.linspace(0, 1, shape.teeth * 6 + 1, dtype=np.float32)
    edges = [_margin(shape, t, side) for side in sides] if len(sides) == 2 else [_margin(shape, t, sides[0]), 0 * t]
    first, second = (to_pixels(shape, t, midrib(shape, t) + edge) for edge in edges)
    xs = np.concatenate([first[0], second[0][::-1]]) * scale
    ys = np.concatenate([first[1], second[1][::-1]]) * scale
    return list(zip(xs.tolist(), ys.tolist(), strict=True))


def _margin(shape: Shape, t: Field, side: int) -> Field:
    widest = shape.right if side > 0 else shape.left
    place_in_tooth = (t * shape.teeth + 0.31 * side) % 1.0
    lean = np.where(place_in_tooth < 0.8, place_in_tooth / 0.8, (1 - place_in_tooth) / 0.2)
    waves = 1 + shape.wave * np.sin(9 * t + shape.phase * side)
    relative = half_width(shape, t) * waves + shape.depth * (lean - 0.5) * np.minimum(1, 8 * t * (1 - t))
    return np.asarray(side * widest * np.maximum(relative, 0), dtype=np.float32)


def stalk(shape: Shape) -> Field:
    """Return the opacity [H, W] in 0-1 of the leaf's stalk, which bends away from the base."""
    t = np.linspace(0, 0.32, 12, dtype=np.float32)
    x, y = to_pixels(shape, 0.01 - t, shape.stalk * t * t * 2.5)
    canvas = Image.new("L", (SIZE * FINE, SIZE * FINE))
    draw = ImageDraw.Draw(canvas)
    points = list(zip((x * FINE).tolist(), (y * FINE).tolist(), strict=True))
    draw.line(points, fill=255, width=int(0.018 * shape.length * FINE), joint="curve")
    return np.asarray(canvas.reduce(FINE), dtype=np.float32) / np.float32(255)
