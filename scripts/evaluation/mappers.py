"""What makes maps of a case: the methods as they are served, and maps that never saw the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
from PIL import ImageFilter

from saliency.explainer import Explainer
from saliency.methods import METHODS
from saliency.methods.base import Shows
from scripts.evaluation.case import Case, Map

Mapper = Callable[[Case], list[Map]]
NO_MAPS = frozenset(name for name, method in METHODS.items() if method.shows is not Shows.SALIENCY)


def options_for(method: str) -> dict[str, object]:
    """Return the options under which a map is measured: of gradients the size, of shares of the score the positive."""
    if method in NO_MAPS:
        return {"method": method}
    reading = {"reduce": "max_abs"} if METHODS[method].local else {"reduce": "sum", "polarity": "positive"}
    return {"method": method, **reading}


def patient(archive: Path) -> Explainer:
    """Return the explainer of an archive, with a day's time for a request."""
    explainer = Explainer.load(archive)
    limits = replace(explainer.classifier.limits, max_seconds=86_400)
    return Explainer(replace(explainer.classifier, limits=limits))


def explained(explainer: Explainer, method: str) -> Mapper:
    """Return what maps a case by a method of the engine, all targets in one request."""

    def mapper(case: Case) -> list[Map]:
        explanation = explainer.explain(case.png, target=list(case.targets), **options_for(method))
        return [np.asarray(one.saliency, np.float32) for one in explanation.maps]

    return mapper


def random_map(case: Case) -> Map:
    """Return noise, the same for the same case."""
    shape = case.image.height, case.image.width
    return np.random.default_rng(case.seed).random(shape, dtype=np.float32)


def centre_map(case: Case) -> Map:
    """Return a Gaussian in the middle of the picture, a quarter of its side wide."""
    height, width = case.image.height, case.image.width
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


def blind(draw: Callable[[Case], Map]) -> Mapper:
    """Return what maps every target of a case alike."""
    return lambda case: [draw(case)] * len(case.targets)


BLIND: Mapping[str, Mapper] = MappingProxyType(
    {"random map": blind(random_map), "centre": blind(centre_map), "edges (Sobel)": blind(edge_map)}
)
