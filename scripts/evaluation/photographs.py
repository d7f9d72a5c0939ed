"""Cases made of a folder of photographs: each alone, and four together in a mosaic."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from saliency.explainer import Explainer
from saliency.image import InputSpec, prepare
from scripts.evaluation.case import Case

SIDE = 2  # cells of a mosaic in each direction


@dataclass(frozen=True)
class Recognised:
    """A photograph and what the network makes of it."""

    path: Path
    index: int
    probability: float


def alone(path: Path, explainer: Explainer, seed: int) -> Case:
    """Return a photograph as the network sees it, asked for the class that it predicts."""
    image = cut(Image.open(path), explainer.classifier.input)
    case = Case(image, (), seed=seed)
    return replace(case, targets=(recognised(case, path, explainer).index,))


def recognised(case: Case, path: Path, explainer: Explainer) -> Recognised:
    """Return what the network predicts for a case."""
    best = explainer.explain(case.png, render="none", top_k=1).predictions[0]
    return Recognised(path, best.index, best.probability)


def mosaics(paths: Sequence[Path], explainer: Explainer, count: int) -> list[Case]:
    """Return mosaics of four photographs of four classes, each asked for all four (Böhle et al. 2021).

    The photographs are those that the network is surest of at the size of a cell, alone on grey; each is used once.
    """
    spec = explainer.classifier.input
    height, width = (side // SIDE for side in spec.size)
    cell = replace(spec, size=(height, width), resize=(min(height, width),))
    found: dict[int, Recognised] = {}
    for path in paths:
        seen = recognised(Case(framed(cut(Image.open(path), cell), spec), ()), path, explainer)
        if seen.index not in found or found[seen.index].probability < seen.probability:
            found[seen.index] = seen
    surest = sorted(found.values(), key=lambda seen: -seen.probability)[: count * SIDE**2]
    groups = [surest[first::count] for first in range(count)]
    return [_mosaic(group, cell, spec, seed) for seed, group in enumerate(groups) if len(group) == SIDE**2]


def _mosaic(group: Sequence[Recognised], cell: InputSpec, spec: InputSpec, seed: int) -> Case:
    """Return four photographs side by side, with the cell of each as its mask."""
    (height, width), (rows, columns) = cell.size, spec.size
    whole = Image.new("RGB", (columns, rows), "grey")
    masks = []
    for seen, (row, column) in zip(group, itertools.product(range(SIDE), repeat=2), strict=True):
        whole.paste(cut(Image.open(seen.path), cell), (column * width, row * height))
        mask = np.zeros((rows, columns), np.bool_)
        mask[row * height : (row + 1) * height, column * width : (column + 1) * width] = True
        masks.append(mask)
    return Case(whole, tuple(seen.index for seen in group), tuple(masks), seed)


def cut(image: Image.Image, spec: InputSpec) -> Image.Image:
    """Return a picture resized and cropped to an input, in RGB."""
    return Image.fromarray(prepare(image.convert("RGB"), spec).pixels)


def framed(image: Image.Image, spec: InputSpec) -> Image.Image:
    """Return a picture in the middle of a grey one of the input's size."""
    height, width = spec.size
    whole = Image.new("RGB", (width, height), "grey")
    whole.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
    return whole
