"""Every kind of map on every case: how long it took, what the network makes of it, and where it lies."""

from __future__ import annotations

import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence

from saliency.explainer import Explainer
from saliency.scoring import score_maps
from scripts.evaluation.case import Case, Map
from scripts.evaluation.mappers import Mapper
from scripts.evaluation.measures import TOLERANCE, points, share

SCORES = ("deletion_blur", "insertion_blur")
Figures = dict[str, float]  # the name of a measure -> its mean


def judged(explainer: Explainer, mappers: Mapping[str, Mapper], cases: Sequence[Case]) -> dict[str, Figures]:
    """Return each kind of map's scores by the network itself, and its milliseconds, on pictures of one target each."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for case in cases:
        maps: dict[str, Map] = {}
        for name, mapper in mappers.items():
            start = time.perf_counter()
            (maps[name],) = mapper(case)
            found[name]["ms"].append(1000 * (time.perf_counter() - start))
        scored = score_maps(explainer, case.png, case.targets[0], maps, SCORES)
        for name, figures in scored.items():
            for score, figure in figures.items():
                if figure is not None:
                    found[name][score].append(figure)
        _progress(f"judged {case.targets[0]}")
    middle = {"ms": statistics.median}
    return {
        name: {measure: middle.get(measure, statistics.mean)(values) for measure, values in measures.items()}
        for name, measures in found.items()
    }


def placed(mappers: Mapping[str, Mapper], cases: Sequence[Case], tolerance: int = TOLERANCE) -> dict[str, Figures]:
    """Return how often each kind of map points into the masks, and the share of it that lies in them."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for case in cases:
        for name, mapper in mappers.items():
            for saliency, mask in zip(mapper(case), case.masks, strict=True):
                found[name]["pointing"].append(points(saliency, mask, tolerance))
                found[name]["share"].append(share(saliency, mask))
        _progress(f"placed {', '.join(map(str, case.targets))}")
    return {name: {m: statistics.mean(values) for m, values in f.items()} for name, f in found.items()}


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
