"""Pictures of apple leaves, 224 by 224 pixels, with a mask for every disease."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from PIL import Image

from torchserve_saliency_cli.leaves.clutter import litter, visitors
from torchserve_saliency_cli.leaves.fields import (
    SIZE,
    Field,
    Mask,
    between,
    blend,
    blurred,
    grid,
    ramp,
    smooth,
    to_bytes,
)
from torchserve_saliency_cli.leaves.lesions import Site, infect
from torchserve_saliency_cli.leaves.scenery import Scenery, scenery
from torchserve_saliency_cli.leaves.shapes import Blade, blade, random_shape, stalk
from torchserve_saliency_cli.leaves.tissue import Tissue, grow

DISEASES = ("rust", "scab", "black rot")
CLASSES = ("healthy", *DISEASES)
SEEN = 0.4
PARTS = ("shape", "tissue", "scenery", "litter", "light", "visitors", "camera", *DISEASES)


@dataclass(frozen=True)
class Leaf:
    """A picture of one leaf, RGB 224 by 224, with the lesion mask [H, W] of every disease and its label.

    `label` is `healthy`, a disease, or two diseases joined by " and ".
    """

    image: Image.Image
    masks: Mapping[str, Mask]
    label: str


@dataclass(frozen=True)
class Light:
    """The light: its direction (a unit vector, z towards the viewer), its colour [3], and its ambient share."""

    direction: tuple[float, float, float]
    tint: Field
    ambient: float


def draw(seed: int, diseases: Sequence[str] = ()) -> Leaf:
    """Return the leaf of this seed with these diseases. The scene depends only on the seed.

    Raise ValueError for a name that is not in DISEASES.
    """
    unknown = sorted(set(diseases) - set(DISEASES))
    if unknown:
        raise ValueError(f"no disease is named {unknown[0]!r}: known are {', '.join(DISEASES)}")
    present = [name for name in DISEASES if name in diseases]
    streams = {part: np.random.default_rng([seed, index]) for index, part in enumerate(PARTS)}
    return _compose(present, streams)


def _compose(present: Sequence[str], streams: Mapping[str, Generator]) -> Leaf:
    leaf = blade(random_shape(streams["shape"]))
    tissue = grow(leaf, streams["tissue"])
    albedo, opacities = _sicken(leaf, tissue, present, streams)
    light = _sun(streams["light"])
    behind = scenery(streams["scenery"])
    litter(behind.ground, leaf, streams["litter"])
    picture = _on_ground(behind, leaf, light, streams["light"])
    lit = _shine(albedo, tissue, light, streams["light"])
    visitors(lit, leaf, streams["visitors"])
    shot = _photograph(blend(picture, lit, leaf.cover), streams["camera"])
    return Leaf(Image.fromarray(shot), _masks(leaf, opacities), " and ".join(present) or "healthy")


def _sicken(
    leaf: Blade, tissue: Tissue, present: Sequence[str], streams: Mapping[str, Generator]
) -> tuple[Field, dict[str, Field]]:
    """Return the blade's colours with all lesions [H, W, 3], and the opacity [H, W] of each disease."""
    albedo = tissue.albedo
    opacities: dict[str, Field] = {}
    taken: list[Site] = []
    for name in present:
        paint, opacity, sites = infect(name, streams[name], leaf, tissue, taken)
        albedo = blend(albedo, paint, opacity)
        opacities = {other: alpha * (1 - opacity) for other, alpha in opacities.items()} | {name: opacity}
        taken += sites
    return albedo, opacities


def _masks(leaf: Blade, opacities: Mapping[str, Field]) -> dict[str, Mask]:
    """Return a mask [H, W] per disease of its visible lesions; where two overlap, the more opaque one counts."""
    none = np.zeros_like(leaf.cover)
    shown = {name: opacities.get(name, none) for name in DISEASES}
    most = np.max(np.stack(list(shown.values())), axis=0)
    return {name: (alpha == most) & (alpha > SEEN) & (leaf.cover > 0.5) for name, alpha in shown.items()}


def _sun(rng: Generator) -> Light:
    a, high = rng.uniform(0, 2 * np.pi), rng.uniform(0.75, 1.25)
    flat = float(np.cos(high))
    direction = (flat * float(np.cos(a)), flat * float(np.sin(a)), float(np.sin(high)))
    return Light(direction, between(rng, (1.06, 1.0, 0.90), (0.95, 1.0, 1.06)), rng.uniform(0.45, 0.7))


def _on_ground(behind: Scenery, leaf: Blade, light: Light, rng: Generator) -> Field:
    """Return the ground, out of focus by its distance, with the leaf's stalk and shadow on it."""
    away = rng.uniform(3, 12)
    down, right = (round(-light.direction[axis] * away * 2) for axis in (1, 0))
    stem = stalk(leaf.shape)
    shadow = blurred(_moved(np.maximum(leaf.cover, stem), down, right), away * 0.6)
    ground = blurred(behind.ground, behind.blur) if behind.blur > 0.3 else behind.ground
    ground = ground * light.tint * (1 - shadow * np.float32(rng.uniform(0.25, 0.6) * behind.shadow))[..., None]
    stem_tint = between(rng, (0.45, 0.55, 0.22), (0.52, 0.30, 0.20))
    return blend(np.asarray(ground, np.float32), stem_tint, stem)


def _moved(field: Field, down: int, right: int) -> Field:
    """Return the field [H, W] moved by up to 32 pixels, filled with zeros."""
    return np.pad(field, 32)[32 - down : 32 - down + SIZE, 32 - right : 32 - right + SIZE]


def _shine(albedo: Field, tissue: Tissue, light: Light, rng: Generator) -> Field:
    """Return the blade's colours under the light, with relief, gloss and the dappled shadows of other leaves."""
    down, right = np.gradient(tissue.height)
    length = np.sqrt(down * down + right * right + 1)
    x, y, z = light.direction
    facing = (-right * x - down * y + z) / length
    bright = light.ambient + (1 - light.ambient) * np.clip(facing, 0, 1) / z
    half = (facing * 0.5 + 0.5 / length) / np.sqrt(0.5 + 0.5 * z)
    eighth = np.square(np.square(np.square(np.clip(half, 0, 1))))
    gloss = eighth * eighth * eighth * tissue.gloss * 0.35
    shade = 1 - rng.uniform(0.2, 0.45) * ramp(0.42, 0.66, smooth(rng, 4)) * (rng.random() < 0.35)
    lit = albedo * (bright * shade)[..., None] * light.tint * 1.15 + (gloss * shade)[..., None]
    return np.asarray(lit, np.float32)


def _photograph(scene: Field, rng: Generator) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Return the scene [H, W, 3] as a uint8 photograph: with exposure, gradient, vignette, contrast and noise."""
    y, x = grid()
    a, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.35)
    across = ((x - SIZE / 2) * np.float32(np.cos(a)) + (y - SIZE / 2) * np.float32(np.sin(a))) / SIZE
    corner = ((x / SIZE - 0.5) ** 2 + (y / SIZE - 0.5) ** 2) * rng.uniform(0, 0.5)
    exposure = rng.uniform(0.9, 1.25) * (1 + slope * across - corner)
    film = np.linspace(0, 1, 2001, dtype=np.float32) ** np.float32(rng.uniform(0.85, 1.1))
    shot = film[(np.clip(scene * exposure[..., None], 0, 1) * 2000).astype(np.int32)]
    noise = rng.standard_normal((SIZE, SIZE, 3), dtype=np.float32) * np.float32(rng.uniform(0.003, 0.022))
    return to_bytes(np.asarray(shot + noise, np.float32))
