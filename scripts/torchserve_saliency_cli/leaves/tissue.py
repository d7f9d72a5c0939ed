"""The healthy blade: its veins, relief and colours, without lesions and light."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from torchserve_saliency_cli.leaves.fields import Field, between, blend, bump, colour, layered, ramp, smooth
from torchserve_saliency_cli.leaves.shapes import Blade


@dataclass(frozen=True)
class Tissue:
    """The blade's surface: `albedo` [H, W, 3], `height` [H, W] in pixels, `veins` [H, W] in 0-1, `gloss` in 0-1."""

    albedo: Field
    height: Field
    veins: Field
    gloss: float


def grow(blade: Blade, rng: Generator) -> Tissue:
    """Return the blade's healthy tissue."""
    warp, net, mottle = smooth(rng, 7), smooth(rng, 46), layered(rng, 5, 4)
    phase = _phase(blade, warp)
    midrib, side = _midrib(blade), _side_veins(blade, phase)
    mesh = np.asarray(ramp(0.10, 0.0, np.abs(net - 0.5)) * 0.35, np.float32)
    veins = np.clip(midrib + side, 0, 1)
    albedo = _paint(blade, rng, veins, mesh, mottle)
    return Tissue(albedo, _relief(blade, rng, phase, midrib, mottle, mesh), veins, rng.uniform(0.05, 0.5))


def _phase(blade: Blade, warp: Field) -> Field:
    """Return the position between side veins [H, W]. A vein runs along whole numbers."""
    out = np.abs(blade.beside)
    start = blade.along - blade.shape.slope * out - 0.5 * out * out + 0.035 * (warp - 0.5)
    spread = np.clip(start, -0.5, 1.2)
    alternate = np.where(blade.beside > 0, np.float32(0.45), np.float32(0))
    return np.asarray(blade.shape.veins * spread * (1 + 0.28 * spread) + alternate, np.float32)


def _midrib(blade: Blade) -> Field:
    width = np.maximum(2.3 - 1.7 * blade.along, 0.6)
    return np.asarray(np.exp(-((blade.beside * blade.shape.length / width) ** 2)), np.float32)


def _side_veins(blade: Blade, phase: Field) -> Field:
    distance = np.abs(phase - np.rint(phase)) * (0.7 * blade.shape.length / blade.shape.veins)
    out = np.clip(np.abs(blade.across), 0, 1)
    width = 1.25 - 0.7 * out
    return np.asarray(np.exp(-((distance / width) ** 2)) * (0.85 - 0.65 * out), np.float32)


def _paint(blade: Blade, rng: Generator, veins: Field, mesh: Field, mottle: Field) -> Field:
    young, old = (0.37, 0.51, 0.17), (0.15, 0.32, 0.13)
    base = between(rng, young, old)
    warm = base * colour(1.35, 1.12, 0.9)
    albedo = blend(np.broadcast_to(base, (*mottle.shape, 3)), warm, ramp(0.35, 0.75, mottle) * 0.55)
    albedo = blend(albedo, base * colour(0.75, 0.85, 0.8), ramp(0.5, 0.2, mottle) * 0.5)
    albedo = blend(albedo, base * colour(1.5, 1.3, 1.3) + 0.03, mesh * 0.5)
    pale = np.asarray(base * 0.45 + between(rng, (0.40, 0.48, 0.22), (0.33, 0.40, 0.20)), np.float32)
    albedo = blend(albedo, pale, veins * rng.uniform(0.5, 0.85))
    tired = rng.random() ** 3 * 0.4
    margin = ramp(0.55, 1.05, np.abs(blade.across)) * ramp(0.3, 0.7, mottle)
    return blend(albedo, colour(0.62, 0.60, 0.18), margin * np.float32(tired))


def _relief(blade: Blade, rng: Generator, phase: Field, midrib: Field, mottle: Field, mesh: Field) -> Field:
    out = np.clip(np.abs(blade.across), 0, 1.2)
    puff = np.abs(np.sin(np.pi * phase)) * (1 - out * 0.6) * rng.uniform(1.2, 3.2)
    fold = rng.uniform(-0.15, 0.5) * np.abs(blade.beside) * blade.shape.length
    curl = rng.uniform(-14, 14) * out**3 * ramp(0.2, 0.8, smooth(rng, 3))
    arch = rng.uniform(-22, 22) * (blade.along - 0.5) ** 2 * 2
    rough = mottle * 7 + bump(mesh, 0.3, 0.2) * -0.25
    return np.asarray(puff + fold + curl + arch + rough - midrib * 1.3, np.float32)
