"""Distractors: objects in the colours of the diseases next to the leaf, and harmless things on it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from torchserve_saliency_cli.leaves.fields import SIZE, Field, between, blend, bump, colour, ramp, smooth, window
from torchserve_saliency_cli.leaves.shapes import Blade, place


def litter(ground: Field, blade: Blade, rng: Generator) -> None:
    """Draw berries, petals, stones and brown spots on the ground next to the leaf, in place."""
    things: tuple[Callable[[Field, Generator, float, float], None], ...] = (_berries, _petal, _stone, _brown_spot)
    for thing in things:
        if rng.random() < 0.5:
            for x, y in _free_places(blade, rng, int(rng.integers(1, 6))):
                thing(ground, rng, x, y)


def _free_places(blade: Blade, rng: Generator, count: int) -> list[tuple[float, float]]:
    tries = rng.uniform(4, SIZE - 4, (count * 5, 2))
    free = [(x, y) for x, y in tries.tolist() if blade.cover[int(y), int(x)] == 0]
    return free[:count]


def _ball(ground: Field, x: float, y: float, radius: float, tint: Field) -> None:
    """Draw a lit ball with its shadow on the ground, in place."""
    spot = window(x, y, radius * 1.7)
    r = spot.radius / np.float32(radius)
    ground[spot.at] *= (1 - 0.45 * ramp(1.6, 0.8, r))[..., None]
    light = np.clip(0.85 - 0.45 * (spot.x + spot.y) / radius, 0.25, 1.3)
    body = tint * light[..., None]
    glint = bump(np.hypot(spot.x + 0.35 * radius, spot.y + 0.35 * radius) / radius, 0, 0.25)
    body = blend(body, colour(1, 1, 1), glint * np.float32(0.7))
    ground[spot.at] = blend(ground[spot.at], body, ramp(1.03, 0.93, r))


def _berries(ground: Field, rng: Generator, x: float, y: float) -> None:
    tint = between(rng, (0.95, 0.50, 0.06), (0.80, 0.16, 0.05))
    for _ in range(int(rng.integers(1, 4))):
        dx, dy = rng.normal(0, 7, 2)
        _ball(ground, x + float(dx), y + float(dy), rng.uniform(4, 9), tint)


def _petal(ground: Field, rng: Generator, x: float, y: float) -> None:
    radius, flat = rng.uniform(6, 13), rng.uniform(1.2, 1.6)
    spot = window(x, y, radius * 2)
    along, across = spot.turned(rng.uniform(0, np.pi))
    r = np.asarray(np.hypot(along / flat, across * flat * (1 + 0.3 * along / radius)) / radius, np.float32)
    tint = between(rng, (0.98, 0.74, 0.12), (0.93, 0.42, 0.08))
    shade = tint * (0.8 + 0.3 * np.cos(across * 1.1) * 0.3 + 0.25 * along / radius)[..., None]
    ground[spot.at] *= (1 - 0.35 * ramp(1.4, 0.8, r))[..., None]
    ground[spot.at] = blend(ground[spot.at], shade, ramp(1.03, 0.92, r))


def _stone(ground: Field, rng: Generator, x: float, y: float) -> None:
    """Draw a flat, uneven, dark stone with its shadow on the ground, in place."""
    radius, flat = rng.uniform(5, 13), rng.uniform(1.0, 1.4)
    spot = window(x, y, radius * 2)
    along, across = spot.turned(rng.uniform(0, np.pi))
    bumps = smooth(rng, 22)[spot.at] - 0.5
    r = np.asarray(np.hypot(along / flat, across * flat) / radius + bumps * 0.35, np.float32)
    ground[spot.at] *= (1 - 0.45 * ramp(1.5, 0.8, r))[..., None]
    light = np.clip(0.85 - 0.4 * (spot.x + spot.y) / radius + 0.5 * bumps, 0.25, 1.5)
    tint = between(rng, (0.10, 0.09, 0.07), (0.32, 0.28, 0.18))
    ground[spot.at] = blend(ground[spot.at], tint * light[..., None], ramp(1.05, 0.92, r))


def _brown_spot(ground: Field, rng: Generator, x: float, y: float) -> None:
    """Draw a flat brown spot, like bark, a fungus or a coin, on the ground, in place. Some have rings and a border."""
    radius = rng.uniform(4, 13)
    spot = window(x, y, radius * 1.5)
    r = np.asarray(spot.radius / radius + (smooth(rng, 20)[spot.at] - 0.5) * 0.3, np.float32)
    tint = between(rng, (0.66, 0.46, 0.28), (0.30, 0.20, 0.12))
    shade = tint * (1 + 0.18 * np.cos(r * rng.uniform(8, 18)))[..., None]
    shade = blend(shade, colour(0.2, 0.1, 0.1), bump(r, 0.95, 0.14) * np.float32(rng.random()))
    ground[spot.at] = blend(ground[spot.at], shade, ramp(1.1, 1.0, r) * 0.95)


def visitors(lit: Field, blade: Blade, rng: Generator) -> None:
    """Draw dew, dust, an insect or a bird's dropping on the lit leaf, in place."""
    if rng.random() < 0.3:
        for _ in range(int(rng.integers(4, 26))):
            _dew(lit, rng, *_spot_on(blade, rng))
    if rng.random() < 0.25:
        dust = ramp(0.80, 0.95, smooth(rng, 100)) * ramp(0.3, 0.7, smooth(rng, 4)) * 0.6
        lit[...] = blend(lit, colour(0.80, 0.76, 0.68), dust)
    if rng.random() < 0.3:
        guests = (_ladybird, _aphids, _ant)
        guests[int(rng.integers(len(guests)))](lit, rng, *_spot_on(blade, rng))
    if rng.random() < 0.06:
        _dropping(lit, rng, *_spot_on(blade, rng))


def _spot_on(blade: Blade, rng: Generator) -> tuple[float, float]:
    return place(blade.shape, rng.uniform(0.12, 0.88), rng.uniform(-0.8, 0.8))


def _dew(lit: Field, rng: Generator, x: float, y: float) -> None:
    radius = 1.2 + 4.2 * rng.random() ** 2
    spot = window(x, y, radius * 1.6 + 1)
    r = spot.radius / np.float32(radius)
    lean = (spot.x + spot.y) / np.float32(radius * 1.41)
    drop = lit[spot.at] * (1 + 0.45 * lean * ramp(1, 0.6, r))[..., None]
    drop = drop * (1 - 0.35 * bump(r, 0.98, 0.16))[..., None]
    glint = bump(np.hypot(spot.x + 0.4 * radius, spot.y + 0.4 * radius), 0, 0.24 * radius + 0.3)
    drop = blend(drop, colour(1, 1, 1), glint * 0.95)
    lit[spot.at] *= (1 - 0.3 * bump(r - lean * 0.3, 1.1, 0.2))[..., None]
    lit[spot.at] = blend(lit[spot.at], drop, ramp(1.1, 0.95, r))


def _oval(lit: Field, x: float, y: float, angle: float, size: tuple[float, float], tint: Field) -> None:
    spot = window(x, y, max(size) * 1.3 + 1)
    along, across = spot.turned(angle)
    r = np.asarray(np.hypot(along / size[0], across / size[1]), np.float32)
    light = 1.0 - 0.35 * (spot.x + spot.y) / max(size)
    lit[spot.at] = blend(lit[spot.at], tint * light[..., None], ramp(1.15, 0.9, r))


def _around(x: float, y: float, angle: float, along: float, across: float) -> tuple[float, float]:
    c, s = float(np.cos(angle)), float(np.sin(angle))
    return x + along * c - across * s, y + along * s + across * c


def _ladybird(lit: Field, rng: Generator, x: float, y: float) -> None:
    a, size = rng.uniform(0, 2 * np.pi), rng.uniform(6.5, 9.0)
    black = colour(0.05, 0.04, 0.04)
    spot = window(x, y, size * 1.8)
    lit[spot.at] *= (1 - 0.4 * ramp(1.5, 0.8, spot.radius / np.float32(size)))[..., None]
    _oval(lit, *_around(x, y, a, 0.85 * size, 0), a, (0.4 * size, 0.5 * size), black)
    _oval(lit, x, y, a, (size, 0.85 * size), between(rng, (0.80, 0.10, 0.05), (0.88, 0.22, 0.06)))
    for along, across in ((0.4, 0.4), (0.4, -0.4), (-0.25, 0.45), (-0.25, -0.45), (0.05, 0.0)):
        _oval(lit, *_around(x, y, a, along * size, across * size), a, (0.17 * size, 0.17 * size), black)
    _oval(lit, *_around(x, y, a, 0, 0), a, (0.9 * size, 0.04 * size), black)
    _oval(lit, x - 0.35 * size, y - 0.35 * size, a, (0.16 * size, 0.12 * size), colour(1.0, 0.9, 0.85))


def _aphids(lit: Field, rng: Generator, x: float, y: float) -> None:
    tint = between(rng, (0.62, 0.76, 0.34), (0.16, 0.20, 0.12))
    for _ in range(int(rng.integers(4, 13))):
        dx, dy = rng.normal(0, 10, 2)
        long = rng.uniform(1.6, 2.8)
        a, at = rng.uniform(0, 2 * np.pi), (x + float(dx), y + float(dy))
        _oval(lit, at[0] + 0.8, at[1] + 0.9, a, (long, 0.6 * long), colour(0.06, 0.10, 0.04))
        _oval(lit, *at, a, (long, 0.6 * long), tint)


def _ant(lit: Field, rng: Generator, x: float, y: float) -> None:
    a, size = rng.uniform(0, 2 * np.pi), rng.uniform(6, 9)
    tint = between(rng, (0.06, 0.05, 0.05), (0.25, 0.11, 0.06))
    for along, lean in ((0.35, 0.6), (0.1, 0.0), (-0.1, -0.5)):
        for side in (-1, 1):
            foot = _around(x, y, a, along * size + lean * 0.4 * size, side * 0.35 * size)
            _oval(lit, *foot, a + side * (1.4 - lean * 0.6), (0.38 * size, 0.45), tint)
    for along, long, wide in ((-0.65, 0.42, 0.26), (0.0, 0.28, 0.15), (0.5, 0.22, 0.2)):
        _oval(lit, *_around(x, y, a, along * size, 0), a, (long * size, wide * size), tint)


def _dropping(lit: Field, rng: Generator, x: float, y: float) -> None:
    radius = rng.uniform(4, 9)
    spot = window(x, y, radius * 2)
    r = np.asarray(spot.radius / radius + (smooth(rng, 26)[spot.at] - 0.5) * 1.2, np.float32)
    white = np.broadcast_to(colour(0.90, 0.89, 0.84), (*r.shape, 3))
    shade = blend(white, colour(0.45, 0.43, 0.36), ramp(0.55, 0.75, smooth(rng, 40)[spot.at]))
    lit[spot.at] = blend(lit[spot.at], shade, ramp(1.0, 0.85, r) * 0.95)
