"""Measure every kind of map on every case: its time, its faithfulness to the network, and its position."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence

from tqdm import tqdm

from tools.evaluation.case import Case, Map
from tools.evaluation.external_maps import score_maps
from tools.evaluation.localisation import TOLERANCE, points, share
from tools.evaluation.map_sources import Mapper
from torchserve_saliency.explainer import Explainer

SCORES = ("deletion_blur", "insertion_blur")
Measurements = dict[str, float]  # the name of a measure -> its mean, or the median of its times
Values = dict[str, dict[str, list[float]]]  # the kind of map -> the name of a measure -> one value per case


def measure_faithfulness(
    explainer: Explainer, mappers: Mapping[str, Mapper], cases: Sequence[Case]
) -> dict[str, Measurements]:
    """Return the mean scores and the median milliseconds of each kind of map. Each case has one target."""
    values: Values = defaultdict(lambda: defaultdict(list))
    for case in tqdm(cases, "faithfulness"):
        maps: dict[str, Map] = {}
        for name, mapper in mappers.items():
            start = time.perf_counter()
            (maps[name],) = mapper(case)
            values[name]["ms"].append(1000 * (time.perf_counter() - start))
        for name, scores in score_maps(explainer, case.png, case.targets[0], maps, SCORES).items():
            for score, value in scores.items():
                if value is not None:
                    values[name][score].append(value)
    return _averages(values)


def measure_localisation(
    mappers: Mapping[str, Mapper], cases: Sequence[Case], tolerance: int = TOLERANCE
) -> dict[str, Measurements]:
    """Return how often each kind of map points into the masks, and its mean share inside them."""
    values: Values = defaultdict(lambda: defaultdict(list))
    for case in tqdm(cases, "localisation"):
        for name, mapper in mappers.items():
            for saliency, mask in zip(mapper(case), case.masks, strict=True):
                values[name]["pointing"].append(points(saliency, mask, tolerance))
                values[name]["share"].append(share(saliency, mask))
    return _averages(values)


def _averages(values: Values) -> dict[str, Measurements]:
    """Return the mean of every measure; of times the median, which a single slow case does not change."""
    averages = {"ms": statistics.median}
    return {
        name: {measure: averages.get(measure, statistics.mean)(each) for measure, each in measures.items()}
        for name, measures in values.items()
    }
