"""Functions that make the maps of a case: the methods as served, and controls that do not use the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from PIL import ImageFilter

from tools.evaluation.case import Case, Map
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.methods import METHODS
from torchserve_saliency.methods.base import Shows

Mapper = Callable[[Case], list[Map]]
NO_MAPS = frozenset(name for name, method in METHODS.items() if method.shows is not Shows.SALIENCY)


def options_for(method: str) -> dict[str, Any]:
    """Return a method's options for measuring: the magnitude of local gradients, the positive part of contributions."""
    if method in NO_MAPS:
        return {"method": method}
    reduction = {"reduce": "max_abs"} if METHODS[method].local else {"reduce": "sum", "polarity": "positive"}
    return {"method": method, **reduction}


def load_patient(archive: Path) -> Explainer:
    """Return the explainer of an archive, with a time limit of one day per request."""
    explainer = Explainer.load(archive)
    limits = replace(explainer.classifier.limits, max_seconds=86_400)
    return Explainer(replace(explainer.classifier, limits=limits))


def method_mapper(explainer: Explainer, method: str) -> Mapper:
    """Return a function that makes the maps of a case by a method of the engine, all targets in one request."""

    def mapper(case: Case) -> list[Map]:
        explanation = explainer.explain(case.png, target=list(case.targets), **options_for(method))
        return [np.asarray(one.saliency, np.float32) for one in explanation.maps]

    return mapper


def random_map(case: Case) -> Map:
    """Return uniform noise, seeded by the case."""
    shape = case.image.height, case.image.width
    return np.random.default_rng(case.seed).random(shape, dtype=np.float32)


def centre_map(case: Case) -> Map:
    """Return a centred Gaussian whose standard deviation is a quarter of the picture's side."""
    height, width = case.image.height, case.image.width
    y, x = np.mgrid[:height, :width].astype(np.float32)
    distance = ((y - height / 2 + 0.5) / (height / 4)) ** 2 + ((x - width / 2 + 0.5) / (width / 4)) ** 2
    return np.asarray(np.exp(-distance / 2), np.float32)


def edge_map(case: Case) -> Map:
    """Return the magnitude of the Sobel gradient of the picture's slightly blurred lightness."""
    light = np.asarray(case.image.convert("L").filter(ImageFilter.GaussianBlur(1)), np.float32)
    p = np.pad(light, 1, mode="edge")
    down = (p[2:, :-2] + 2 * p[2:, 1:-1] + p[2:, 2:]) - (p[:-2, :-2] + 2 * p[:-2, 1:-1] + p[:-2, 2:])
    right = (p[:-2, 2:] + 2 * p[1:-1, 2:] + p[2:, 2:]) - (p[:-2, :-2] + 2 * p[1:-1, :-2] + p[2:, :-2])
    return np.asarray(np.hypot(down, right), np.float32)


def same_for_every_target(make: Callable[[Case], Map]) -> Mapper:
    """Return a function that gives every target of a case the same map."""
    return lambda case: [make(case)] * len(case.targets)


CONTROL_MAPPERS: Mapping[str, Mapper] = MappingProxyType(
    {
        "random map": same_for_every_target(random_map),
        "centre": same_for_every_target(centre_map),
        "edges (Sobel)": same_for_every_target(edge_map),
    }
)
