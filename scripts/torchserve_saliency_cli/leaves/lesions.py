"""The lesions of three diseases of apple leaves: cedar apple rust, scab and black rot."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from torchserve_saliency_cli.leaves.fields import Field, Window, blend, bump, colour, layered, ramp, smooth, window
from torchserve_saliency_cli.leaves.shapes import Blade, place, places
from torchserve_saliency_cli.leaves.tissue import Tissue


@dataclass(frozen=True)
class Site:
    """The position of a lesion: `x`, `y` and radius in pixels, and the direction of its axis in radians."""

    x: float
    y: float
    radius: float
    angle: float


@dataclass(frozen=True)
class Textures:
    """Noise [H, W] of about 0 to 1 for all lesions of a leaf: `edge` distorts outlines, `grain` is fine."""

    edge: Field
    grain: Field


Stamp = Callable[[Generator, Textures, Site, Field, Field], None]


def infect(
    disease: str, rng: Generator, blade: Blade, tissue: Tissue, taken: list[Site]
) -> tuple[Field, Field, list[Site]]:
    """Return the lesions' colour [H, W, 3], opacity [H, W] and sites, which do not overlap those `taken`."""
    textures = Textures(layered(rng, 28, 2), smooth(rng, 90))
    paint, opacity = tissue.albedo.copy(), np.zeros_like(tissue.height)
    sites = _SITES[disease](rng, blade, tissue, taken)
    for site in sites:
        _STAMPS[disease](rng, textures, site, paint, opacity)
    return paint, opacity, sites


def _scatter(rng: Generator, blade: Blade, count: int, radii: tuple[float, float], taken: list[Site]) -> list[Site]:
    """Return up to `count` sites on the blade that overlap neither each other nor those taken."""
    tries = count * 6
    along, across = rng.uniform(0.1, 0.9, tries), rng.uniform(-0.85, 0.85, tries)
    xs, ys = places(blade.shape, along, across)
    angles = blade.shape.angle + np.sign(across) * np.arctan2(1, blade.shape.slope)
    found = zip(xs.tolist(), ys.tolist(), rng.uniform(*radii, tries).tolist(), angles.tolist(), strict=True)
    sites: list[Site] = []
    for site in itertools.starmap(Site, found):
        if _inside(blade, site) and _apart(site, sites, 0.9) and _apart(site, taken, 1.25):
            sites.append(site)
        if len(sites) == count:
            break
    return sites


def _inside(blade: Blade, site: Site) -> bool:
    row, column = int(site.y), int(site.x)
    height, width = blade.cover.shape
    return 3 <= row < height - 3 and 3 <= column < width - 3 and bool(blade.cover[row, column] > 0.99)


def _apart(site: Site, others: list[Site], factor: float) -> bool:
    return all(math.hypot(site.x - o.x, site.y - o.y) > factor * (site.radius + o.radius) for o in others)


def _rust_sites(rng: Generator, blade: Blade, tissue: Tissue, taken: list[Site]) -> list[Site]:
    largest = rng.uniform(5.5, 10.0)
    return _scatter(rng, blade, int(rng.integers(5, 19)), (0.5 * largest, largest), taken)


def _scab_sites(rng: Generator, blade: Blade, tissue: Tissue, taken: list[Site]) -> list[Site]:
    """Return sites, preferably on the veins."""
    largest = rng.uniform(11.0, 18.0)
    count = int(rng.integers(4, 11))
    found = _scatter(rng, blade, count * 2, (0.5 * largest, largest), taken)
    found.sort(key=lambda site: -float(tissue.veins[int(site.y), int(site.x)]))
    return found[:count]


def _rot_sites(rng: Generator, blade: Blade, tissue: Tissue, taken: list[Site]) -> list[Site]:
    """Return frog-eye spots and, on some leaves, dead patches at the margin."""
    largest = rng.uniform(7.0, 12.5)
    edges: list[Site] = []
    for _ in range(int(rng.choice(4, p=[0.45, 0.25, 0.2, 0.1]))):
        side = int(rng.choice((-1, 1)))
        x, y = place(blade.shape, rng.uniform(0.25, 0.95), side * 1.0)
        site = Site(x, y, rng.uniform(15, 25), blade.shape.angle)
        if _apart(site, edges, 0.8) and _apart(site, taken, 1.1):
            edges.append(site)
    spots = _scatter(rng, blade, int(rng.integers(3, 11)), (0.5 * largest, largest), taken + edges)
    return edges + spots


def _rust(rng: Generator, textures: Textures, site: Site, paint: Field, opacity: Field) -> None:
    """Draw a bright orange spot with a red rim, a yellow halo and dark dots in its middle."""
    spot = window(site.x, site.y, site.radius * 1.7 + 2)
    r = np.asarray(spot.radius / site.radius + (textures.edge[spot.at] - 0.5) * 0.6, np.float32)
    age = rng.random()
    flesh = colour(0.95, 0.66 - 0.16 * age, 0.09)
    glow = ramp(0.6, 0.1, r) * np.float32(1 - 0.6 * age)
    shade = blend(np.broadcast_to(flesh, (*r.shape, 3)), colour(0.98, 0.76, 0.17), glow)
    shade = blend(shade, colour(0.73, 0.22, 0.06), bump(r, 0.92, 0.15 + 0.15 * age) * np.float32(0.55 + 0.4 * age))
    shade = blend(shade, colour(0.79, 0.74, 0.20), ramp(1.0, 1.12, r))
    shade = shade * (0.8 + 0.4 * textures.grain[spot.at])[..., None]
    shade = blend(shade, colour(0.30, 0.10, 0.04), _dots(rng, spot, site.radius) * np.float32(0.5 + 0.4 * age))
    alpha = ramp(1.08, 0.96, r) * 0.45 + ramp(1.5, 1.0, r) * 0.5
    _blend_in(spot, shade, alpha, paint, opacity)


def _dots(rng: Generator, spot: Window, radius: float) -> Field:
    """Return the opacity [h, w] of tiny dots near the middle of a spot."""
    dots = np.zeros_like(spot.radius)
    for _ in range(int(rng.integers(2, 3 + int(1.3 * radius)))):
        a, d = rng.uniform(0, 2 * np.pi), 0.42 * radius * rng.random()
        distance = (spot.x - d * np.cos(a)) ** 2 + (spot.y - d * np.sin(a)) ** 2
        np.maximum(dots, np.exp(-distance / 0.45), out=dots)
    return np.asarray(dots, np.float32)


def _scab(rng: Generator, textures: Textures, site: Site, paint: Field, opacity: Field) -> None:
    """Draw an olive-brown to black velvety blotch with feathery edges, elongated along the vein."""
    spot = window(site.x, site.y, site.radius * 1.9)
    along, across = spot.turned(site.angle)
    stretch = rng.uniform(1.0, 1.5)
    around = np.arctan2(across, along)
    fingers = 0.10 * np.sin(rng.integers(5, 9) * around + rng.uniform(0, 6))
    fingers += 0.07 * np.sin(13 * around + rng.uniform(0, 6))
    r = np.hypot(along / stretch, across * stretch) / site.radius
    r = np.asarray(r + (textures.edge[spot.at] - 0.5) * 1.1 + fingers * np.minimum(r, 1), np.float32)
    velvet = (textures.grain[spot.at] - 0.5) * 0.5
    depth = ramp(1.0, 0.25, r + velvet) * np.float32(rng.uniform(0.7, 1.0))
    olive = colour(0.36, 0.33, 0.13) * np.float32(rng.uniform(0.8, 1.05))
    shade = blend(np.broadcast_to(olive, (*r.shape, 3)), colour(0.11, 0.095, 0.055), depth)
    shade = shade * (0.8 + 0.4 * textures.grain[spot.at])[..., None]
    alpha = ramp(1.05, 0.72, r + velvet * 0.6) * 0.93
    _blend_in(spot, shade, alpha, paint, opacity)


def _rot(rng: Generator, textures: Textures, site: Site, paint: Field, opacity: Field) -> None:
    """Draw a frog-eye spot: purple border, tan middle, rings, pale eye. At the margin it is larger and ragged."""
    spot = window(site.x, site.y, site.radius * 1.6 + 2)
    ragged = 0.75 if site.radius > 14 else 0.42
    r = np.asarray(spot.radius / site.radius + (textures.edge[spot.at] - 0.5) * ragged, np.float32)
    tan = colour(0.64, 0.45, 0.27) * np.float32(rng.uniform(0.85, 1.1))
    rings = np.cos(2 * np.pi * r * rng.uniform(2.2, 3.2) + rng.uniform(-0.5, 0.5)) * rng.uniform(0.04, 0.15)
    shade = np.asarray(tan * (1 + rings)[..., None], np.float32)
    eye = rng.uniform(0.3, 1.0)
    shade = blend(shade, colour(0.80, 0.72, 0.60), ramp(0.45, 0.1, r) * np.float32(eye * 0.7))
    shade = blend(shade, colour(0.27, 0.10, 0.17), bump(r, 0.95, 0.12 + 0.08 * eye) * 0.95)
    shade = shade * (0.78 + 0.44 * textures.grain[spot.at])[..., None]
    specks = (textures.grain[spot.at] > 0.80) * ramp(0.6, 0.4, r)
    shade = blend(shade, colour(0.15, 0.10, 0.08), specks * 0.6)
    _blend_in(spot, shade, ramp(1.16, 1.04, r) * 0.80 + ramp(1.4, 1.05, r) * 0.18, paint, opacity)


def _blend_in(spot: Window, shade: Field, alpha: Field, paint: Field, opacity: Field) -> None:
    """Blend `shade` [h, w, 3] with opacity `alpha` [h, w] into the window, in place."""
    alpha = np.clip(alpha, 0, 1)
    under = opacity[spot.at]
    total = alpha + under * (1 - alpha)
    share = np.where(total > 0, alpha / np.maximum(total, 1e-6), 0).astype(np.float32)
    paint[spot.at] = blend(paint[spot.at], shade, share)
    opacity[spot.at] = total


_SITES: Mapping[str, Callable[[Generator, Blade, Tissue, list[Site]], list[Site]]] = {
    "rust": _rust_sites,
    "scab": _scab_sites,
    "black rot": _rot_sites,
}
_STAMPS: Mapping[str, Stamp] = {"rust": _rust, "scab": _scab, "black rot": _rot}
