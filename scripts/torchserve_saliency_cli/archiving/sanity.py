"""Sanity tests of an archive: whether the maps depend on the weights, and whether a batch changes them.

The first is model-parameter randomisation from the output to the input (MPRT, Adebayo et al. 2018, arXiv:1810.03292),
with its smooth variant and its rise of complexity (sMPRT and eMPRT, Hedström et al. 2024, arXiv:2401.06465).
"""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import cast

import numpy as np
import torch
from torch import Tensor

from torchserve_saliency.methods import METHODS
from torchserve_saliency.methods.base import Method
from torchserve_saliency.model.classifier import Classifier
from torchserve_saliency.requests.compatibility import unsupported_reason
from torchserve_saliency_cli.archiving.float64 import doubled
from torchserve_saliency_cli.archiving.map_making import MapMaker, MapResult
from torchserve_saliency_cli.archiving.map_similarity import Map, complexity, spearman, ssim
from torchserve_saliency_cli.archiving.weight_randomisation import randomise, top_down

logger = logging.getLogger(__name__)
CORE = (
    *("gradient", "gradient_x_input", "guided_backprop", "deconvolution"),
    *("smooth_grad", "integrated_gradients", "grad_cam"),
)
PICTURES = 2
STAGES = 4
JUDGED = 0.5  # share of the layers, from the output, that are random when a method is judged
THRESHOLD = 0.8  # a map of this rank correlation or more has hardly changed
BATCH_TOLERANCE = 1e-3


@dataclass(frozen=True)
class State:
    """A network's maps by method: one per picture, and for single-pass methods the mean over noisy copies of one."""

    maps: Mapping[str, Sequence[MapResult]]
    smooth: Mapping[str, MapResult]


@dataclass(frozen=True)
class Cascade:
    """The maps while the weights are randomised stage by stage, from the output to the input.

    `sizes` counts the parameters of each stage; it is empty if no weight of the network can change. `similarities` are
    the rank correlations of each single-pass method's map of the first picture with the original map, one per stage.
    `judged` are the maps after the stage of judgement, `last` those of the first picture after all stages.
    """

    sizes: tuple[int, ...] = ()
    similarities: Mapping[str, Sequence[float | None]] = field(default_factory=dict)
    judged: State | None = None
    last: Mapping[str, Sequence[MapResult]] = field(default_factory=dict)

    @property
    def judged_after(self) -> int:
        """Return the number of stages after which a method is judged."""
        return math.ceil(JUDGED * len(self.sizes))


def sanity(
    classifier: Classifier, inputs: Sequence[Tensor], methods: Mapping[str, Method] | None = None
) -> dict[str, object]:
    """Return the figures of both tests on inputs [1, C, H, W]. The classifier's network is not changed."""
    plain = classifier.bare()
    selected = {name: METHODS[name] for name in CORE} if methods is None else methods
    left_out = {name: why for name in selected if name in METHODS and (why := unsupported_reason(name, plain))}
    tested = {name: method for name, method in selected.items() if name not in left_out}
    maker = MapMaker(tested, tuple(inputs), plain.layers.default, plain.capacity())
    logger.info("sanity of the maps of %d methods on %d pictures", len(tested), len(inputs))
    before = State(maker.maps(plain, list(tested), len(inputs)), maker.smooth(plain))
    cascade = randomised(plain, maker, before)
    logger.info("sanity: maps alone and in a batch")
    errors = {name: batch_error(plain, maker, name, maps[0]) for name, maps in before.maps.items()}
    return {
        "pictures": len(inputs),
        "stages": list(cascade.sizes),
        "judged_after": cascade.judged_after,
        "threshold": THRESHOLD,
        "batch_tolerance": BATCH_TOLERANCE,
        "methods": {name: {**_figures(name, before, cascade), "batch_error": errors[name]} for name in tested},
        "left_out": left_out,
    }


def randomised(classifier: Classifier, maker: MapMaker, before: State) -> Cascade:
    """Return the maps of a copy of the network whose weights are randomised in stages, from the output to the input."""
    random = replace(classifier, network=copy.deepcopy(classifier.network))
    generator = torch.Generator().manual_seed(0)
    stages = top_down(random, maker.inputs[0], STAGES)
    cascade = Cascade(tuple(len(names) for names in stages))
    similarities: dict[str, list[float | None]] = {name: [] for name in maker.single_pass_methods()}
    changed = False
    for count, names in enumerate(stages, 1):
        logger.info("sanity: weights randomised, stage %d of %d", count, len(stages))
        changed = randomise(random.network, names, generator) or changed
        judging = count == cascade.judged_after
        methods = maker.methods if judging or count == len(stages) else similarities
        maps = maker.maps(random, list(methods), len(maker.inputs) if judging else 1)
        for name, series in similarities.items():
            series.append(_correlation(before.maps[name][0], maps[name][0]))
        if judging:
            cascade = replace(cascade, judged=State(maps, maker.smooth(random)))
    return replace(cascade, similarities=similarities, last=maps) if changed else Cascade()


def _figures(name: str, before: State, cascade: Cascade) -> dict[str, object]:
    """Return the similarity of a method's maps before and after randomisation, and whether they depend on the weights.

    A figure is None if a map is missing or constant.
    """
    judged = cascade.judged
    smooth = (before.smooth.get(name), judged.smooth.get(name) if judged else None)
    pairs = list(zip(before.maps[name], judged.maps[name], strict=True)) if judged else []
    ends = list(zip(before.maps[name], cascade.last.get(name, ()), strict=False))
    correlation = _average([_correlation(*pair) for pair in pairs])
    return {
        "depends_on_weights": None if correlation is None else correlation < THRESHOLD,
        "spearman": correlation,
        "ssim": _average([_compared(ssim, *pair) for pair in pairs]),
        "smooth_spearman": _correlation(*smooth),
        "fully_random_spearman": _average([_correlation(*pair) for pair in ends]),
        "complexity_rise": _average([_compared(_rise, *pair) for pair in ends]),
        "cascade": list(cascade.similarities.get(name, ())),
    }


def _compared(figure: Callable[[Map, Map], float | None], before: MapResult, after: MapResult) -> float | None:
    """Return a figure of two maps [H, W], the maxima over their channels; None if one is missing or constant."""
    if not (isinstance(before, Tensor) and isinstance(after, Tensor)):
        return None
    first, second = (each.abs().amax(0).double().cpu().numpy() for each in (before, after))
    if not (np.isfinite(first).all() and np.isfinite(second).all()) or not np.ptp(first) or not np.ptp(second):
        return None
    value = figure(first, second)
    return None if value is None else round(value, 4)


def _correlation(before: MapResult, after: MapResult) -> float | None:
    return _compared(spearman, before, after)


def _rise(first: Map, second: Map) -> float | None:
    """Return the relative rise of complexity from the first map to the second, or None for a first map without any."""
    initial = complexity(first)
    return complexity(second) / initial - 1 if initial else None


def _average(values: Sequence[float | None]) -> float | None:
    """Return the mean of the values other than None, or None without any."""
    known = [value for value in values if value is not None]
    return round(fmean(known), 4) if known else None


def batch_error(classifier: Classifier, maker: MapMaker, name: str, together: MapResult) -> float | None:
    """Return the relative difference in norm between the first picture's map computed alone and in a batch.

    If it is large, it is measured again in float64 in a batch of all methods, because in float32 a rounding error can
    change the sign at a rectifier. Return None if there is no map.
    """
    error = _relative_error(maker.maps(classifier, [name], 1)[name][0], together)
    if error is None or error <= BATCH_TOLERANCE:
        return error
    with doubled(classifier) as exact:
        wide = replace(maker, inputs=tuple(x.double() for x in maker.inputs))
        alone = wide.maps(exact, [name], 1)[name][0]
        together = wide.maps(exact, list(wide.methods), len(wide.inputs))[name][0]
    return _relative_error(alone, together)


def _relative_error(alone: MapResult, together: MapResult) -> float | None:
    """Return the norm of the difference of two maps, relative to the norm of the first."""
    if not (isinstance(alone, Tensor) and isinstance(together, Tensor)):
        return None
    norm, difference = float(alone.norm()), float((alone - together).norm())
    return difference / (norm or 1.0) if math.isfinite(norm + difference) else None


def mixing(sanity_figures: Mapping[str, object]) -> str | None:
    """Return the reason to refuse an archive whose maps depend on the rest of their batch, or None."""
    methods = cast("Mapping[str, Mapping[str, float | None]]", sanity_figures["methods"])
    errors = {name: figures["batch_error"] or 0.0 for name, figures in methods.items()}
    worst = max(errors, key=lambda name: errors[name], default=None)
    if worst is None or errors[worst] <= BATCH_TOLERANCE:
        return None
    return f"the map of '{worst}' in a batch differs from the one computed alone by {errors[worst]:.1%} in norm"
