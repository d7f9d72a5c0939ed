"""Measures saliency against the lesions that were drawn, and prints a Markdown table.

    python -m scripts.leaves.truth
    python -m scripts.leaves.truth --archive model_store/leaves.mar --leaves 60

Pointing: how often the greatest value of the map lies in a lesion of the asked disease, or within 3 pixels of one.
Share: how much of the map's absolute sum lies in those lesions. A random map, a Gaussian in the middle of the picture
and the strength of its edges are measured beside the methods.
"""

from __future__ import annotations

import argparse
import io
import itertools
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "handlers"), str(ROOT)]

from saliency.explainer import Explainer
from scripts.embedded import NAME, flags
from scripts.leaves.draw import DISEASES, draw

Map = NDArray[np.float32]
Mask = NDArray[np.bool_]
Mapper = Callable[["Case"], Map]

METHODS = (
    "gradient",
    "gradient_x_input",
    "guided_backprop",
    "deconvolution",
    "smooth_grad",
    "integrated_gradients",
    "grad_cam",
)
TRUTH_SEEDS = 3_000_000
TOLERANCE = 3


@dataclass(frozen=True)
class Case:
    """A leaf, the disease that is asked for, and where its lesions are: bool [H, W]."""

    seed: int
    image: Image.Image
    target: str
    mask: Mask


@dataclass(frozen=True)
class Score:
    """Means over leaves: how often the map points into the lesions, and how much of it lies in them."""

    pointing: float
    share: float


def single_cases(count: int) -> Iterator[Case]:
    """Yield `count` leaves with one disease, which is asked for."""
    for seed, disease in zip(range(TRUTH_SEEDS, TRUTH_SEEDS + count), itertools.cycle(DISEASES), strict=False):
        leaf = draw(seed, [disease])
        yield Case(seed, leaf.image, disease, leaf.masks[disease])


def double_cases(count: int) -> Iterator[Case]:
    """Yield `count` leaves with two diseases, twice each: either disease is asked for."""
    first, pairs = TRUTH_SEEDS + 100_000, itertools.cycle(itertools.combinations(DISEASES, 2))
    for seed, pair in zip(range(first, first + count), pairs, strict=False):
        leaf = draw(seed, pair)
        yield from (Case(seed, leaf.image, disease, leaf.masks[disease]) for disease in pair)


def points(saliency: Map, mask: Mask, tolerance: int = TOLERANCE) -> bool:
    """Return whether the greatest value of `saliency` [H, W] is within `tolerance` pixels of `mask` [H, W].

    A map without a greatest value (all values equal) does not point.
    """
    if saliency.max() == saliency.min():
        return False
    row, column = np.unravel_index(int(saliency.argmax()), saliency.shape)
    rows, columns = np.nonzero(mask)
    return bool(np.any((rows - row) ** 2 + (columns - column) ** 2 <= tolerance**2))


def share(saliency: Map, mask: Mask) -> float:
    """Return the part of the absolute sum of `saliency` [H, W] that lies inside `mask` [H, W], 0 for an empty map."""
    strength = np.abs(saliency, dtype=np.float64)
    total = float(strength.sum())
    return float(strength[mask].sum()) / total if total > 0 else 0.0


def random_map(case: Case) -> Map:
    """Return noise, the same for the same leaf."""
    return np.random.default_rng(case.seed).random(case.mask.shape, dtype=np.float32)


def centre_map(case: Case) -> Map:
    """Return a Gaussian in the middle of the picture, a quarter of its side wide."""
    height, width = case.mask.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    far = ((y - height / 2 + 0.5) / (height / 4)) ** 2 + ((x - width / 2 + 0.5) / (width / 4)) ** 2
    return np.asarray(np.exp(-far / 2), np.float32)


def edge_map(case: Case) -> Map:
    """Return the Sobel magnitude of the picture's lightness, slightly smoothed."""
    light = np.asarray(case.image.convert("L").filter(ImageFilter.GaussianBlur(1)), np.float32)
    p = np.pad(light, 1, mode="edge")
    down = (p[2:, :-2] + 2 * p[2:, 1:-1] + p[2:, 2:]) - (p[:-2, :-2] + 2 * p[:-2, 1:-1] + p[:-2, 2:])
    right = (p[:-2, 2:] + 2 * p[1:-1, 2:] + p[2:, 2:]) - (p[:-2, :-2] + 2 * p[1:-1, :-2] + p[2:, :-2])
    return np.asarray(np.hypot(down, right), np.float32)


BASELINES: Mapping[str, Mapper] = {"random map": random_map, "centre": centre_map, "edges (Sobel)": edge_map}


def explained(explainer: Explainer, method: str) -> Mapper:
    """Return what maps a case by a method of the engine."""

    def mapper(case: Case) -> Map:
        picture = io.BytesIO()
        case.image.save(picture, format="PNG")
        explanation = explainer.explain(picture.getvalue(), target=case.target, method=method)
        return np.asarray(explanation.maps[0].saliency, np.float32)

    return mapper


def measure(mapper: Mapper, cases: Sequence[Case]) -> Score:
    """Return the mean score of a kind of map over the cases."""
    maps = [(mapper(case), case.mask) for case in cases]
    return Score(
        float(np.mean([points(saliency, mask) for saliency, mask in maps])),
        float(np.mean([share(saliency, mask) for saliency, mask in maps])),
    )


def archived(folder: Path) -> Path:
    """Return the embedded model's archive, written into `folder` without a word on standard output."""
    command = [sys.executable, str(ROOT / "scripts" / "archive.py"), *flags(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder / f"{NAME}.mar"


def table(mappers: Mapping[str, Mapper], ones: Sequence[Case], twos: Sequence[Case]) -> Iterator[str]:
    """Yield the lines of the Markdown table, as they are measured."""
    yield "| map | one disease: pointing | share | two diseases, one asked for: pointing | share |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for name, mapper in mappers.items():
        scores = measure(mapper, ones), measure(mapper, twos)
        yield f"| {name} | " + " | ".join(f"{s.pointing:.2f} | {s.share:.2f}" for s in scores) + " |"
    areas = [float(np.mean([case.mask.mean() for case in cases])) for cases in (ones, twos)]
    yield "| the lesions' part of the picture | " + " | ".join(f" | {area:.3f}" for area in areas) + " |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", type=Path, help="an archive of the leaf classifier; without it, one is made")
    parser.add_argument("--leaves", type=int, default=60, help="leaves with one disease, and as many with two")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        explainer = Explainer.load(given.archive or archived(Path(folder)))
    mappers = {f"`{name}`": explained(explainer, name) for name in METHODS} | dict(BASELINES)
    for line in table(mappers, list(single_cases(given.leaves)), list(double_cases(given.leaves))):
        print(line, flush=True)


if __name__ == "__main__":
    main()
