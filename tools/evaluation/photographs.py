"""Cases made of a folder of photographs: single photographs and mosaics of four."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from tools.evaluation.case import Case
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.images.preprocessing import InputSpec, prepare

SIDE = 2  # cells of a mosaic in each direction


@dataclass(frozen=True)
class Recognition:
    """A photograph and the class that the network predicts for it."""

    path: Path
    index: int
    probability: float


def single_case(path: Path, explainer: Explainer, seed: int) -> Case:
    """Return a photograph as the network sees it. The target is the predicted class."""
    image = fitted(Image.open(path), explainer.classifier.input)
    case = Case(image, (), seed=seed)
    return replace(case, targets=(recognise(case, path, explainer).index,))


def recognise(case: Case, path: Path, explainer: Explainer) -> Recognition:
    """Return the network's prediction for a case."""
    best = explainer.explain(case.png, render="none", top_k=1).predictions[0]
    return Recognition(path, best.index, best.probability)


def mosaics(paths: Sequence[Path], explainer: Explainer, count: int) -> list[Case]:
    """Return mosaics of four photographs of four classes, all of which are targets (Böhle et al. 2021).

    The photographs with the highest probabilities are chosen, one per class. To measure a probability, the photograph
    is scaled to the size of a cell and centred on grey. No photograph is used twice.
    """
    spec = explainer.classifier.input
    height, width = (side // SIDE for side in spec.size)
    cell = replace(spec, size=(height, width), resize=(min(height, width),))
    best: dict[int, Recognition] = {}
    for path in paths:
        recognition = recognise(Case(on_grey(fitted(Image.open(path), cell), spec), ()), path, explainer)
        if recognition.index not in best or best[recognition.index].probability < recognition.probability:
            best[recognition.index] = recognition
    chosen = sorted(best.values(), key=lambda recognition: -recognition.probability)[: count * SIDE**2]
    groups = [chosen[first::count] for first in range(count)]
    return [_mosaic(group, cell, spec, seed) for seed, group in enumerate(groups) if len(group) == SIDE**2]


def _mosaic(group: Sequence[Recognition], cell: InputSpec, spec: InputSpec, seed: int) -> Case:
    """Return a case of four photographs in a grid; the mask of each is its cell."""
    (height, width), (rows, columns) = cell.size, spec.size
    whole = Image.new("RGB", (columns, rows), "grey")
    masks = []
    for recognition, (row, column) in zip(group, itertools.product(range(SIDE), repeat=2), strict=True):
        whole.paste(fitted(Image.open(recognition.path), cell), (column * width, row * height))
        mask = np.zeros((rows, columns), np.bool_)
        mask[row * height : (row + 1) * height, column * width : (column + 1) * width] = True
        masks.append(mask)
    return Case(whole, tuple(recognition.index for recognition in group), tuple(masks), seed)


def fitted(image: Image.Image, spec: InputSpec) -> Image.Image:
    """Return a picture in RGB, resized and cropped to the network's input."""
    return Image.fromarray(prepare(image.convert("RGB"), spec).pixels)


def on_grey(image: Image.Image, spec: InputSpec) -> Image.Image:
    """Return a picture centred on a grey one of the size of the network's input."""
    height, width = spec.size
    whole = Image.new("RGB", (width, height), "grey")
    whole.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
    return whole
