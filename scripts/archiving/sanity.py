"""Sanity at the door: do the maps depend on the weights, and is a map the same alone and in a batch?

Model-parameter randomisation from the top down (MPRT, Adebayo et al. 2018, arXiv:1810.03292), its smooth form and its
rise of complexity (sMPRT, eMPRT, Hedström et al. 2024, arXiv:2401.06465).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import cast

import numpy as np
import torch
from torch import Tensor

from saliency.methods import METHODS
from saliency.methods.base import Method
from saliency.model import Classifier
from saliency.needs import lacking
from scripts.archiving.doubling import doubled
from scripts.archiving.mapping import Found, Maker
from scripts.archiving.randomisation import randomise, top_down
from scripts.archiving.similarity import Map, complexity, spearman, ssim

CORE = (
    *("gradient", "gradient_x_input", "guided_backprop", "deconvolution"),
    *("smooth_grad", "integrated_gradients", "grad_cam"),
)
PICTURES = 2
STAGES = 4
JUDGED = 0.5  # the share of the layers, from the output down, that are random when a method is judged
THRESHOLD = 0.8  # rank correlation from which a map has hardly changed
BATCH_TOLERANCE = 1e-3


@dataclass(frozen=True)
class State:
    """A network's maps, a picture each, and for methods of a single pass the mean over noisy copies of the first."""

    maps: Mapping[str, Sequence[Found]]
    smooth: Mapping[str, Found]


@dataclass(frozen=True)
class Cascade:
    """What became of the maps as more and more weights were random, from the output down.

    `sizes` counts the parameters of each stage, none where the network has no weights that could change; `alike` is
    the rank correlation of each single-pass method's map of the first picture after each stage; `last` holds the first
    picture's maps of the network that is all random.
    """

    sizes: tuple[int, ...] = ()
    alike: Mapping[str, Sequence[float | None]] = field(default_factory=dict)
    judged: State | None = None
    last: Mapping[str, Sequence[Found]] = field(default_factory=dict)

    @property
    def judged_after(self) -> int:
        """Return the stages after which a method is judged."""
        return math.ceil(JUDGED * len(self.sizes))


def sanity(
    classifier: Classifier, inputs: Sequence[Tensor], methods: Mapping[str, Method] | None = None
) -> dict[str, object]:
    """Return the figures of both tests for inputs [1, C, H, W]; the classifier's own network stays as it is."""
    plain = classifier.bare()
    wanted = {name: METHODS[name] for name in CORE} if methods is None else methods
    left_out = {name: why for name in wanted if name in METHODS and (why := lacking(name, plain))}
    able = {name: method for name, method in wanted.items() if name not in left_out}
    maker = Maker(able, tuple(inputs), plain.layers.default, plain.capacity())
    before = State(maker.maps(plain, list(able), len(inputs)), maker.smooth(plain))
    cascade = cascaded(plain, maker, before)
    errors = {name: batch_error(plain, maker, name, maps[0]) for name, maps in before.maps.items()}
    return {
        "pictures": len(inputs),
        "stages": list(cascade.sizes),
        "judged_after": cascade.judged_after,
        "threshold": THRESHOLD,
        "batch_tolerance": BATCH_TOLERANCE,
        "methods": {name: {**_said(name, before, cascade), "batch_error": errors[name]} for name in able},
        "left_out": left_out,
    }


def cascaded(classifier: Classifier, maker: Maker, before: State) -> Cascade:
    """Randomise a copy of the network in stages, from the output down, and return what becomes of the maps."""
    random = replace(classifier, network=copy.deepcopy(classifier.network))
    generator = torch.Generator().manual_seed(0)
    stages = top_down(random, maker.inputs[0], STAGES)
    cascade = Cascade(tuple(len(names) for names in stages))
    alike: dict[str, list[float | None]] = {name: [] for name in maker.once()}
    moved = False
    for count, names in enumerate(stages, 1):
        moved = randomise(random.network, names, generator) or moved
        judging = count == cascade.judged_after
        asked = maker.methods if judging or count == len(stages) else alike
        maps = maker.maps(random, list(asked), len(maker.inputs) if judging else 1)
        for name, series in alike.items():
            series.append(_alike(before.maps[name][0], maps[name][0]))
        if judging:
            cascade = replace(cascade, judged=State(maps, maker.smooth(random)))
    return replace(cascade, alike=alike, last=maps) if moved else Cascade()


def _said(name: str, before: State, cascade: Cascade) -> dict[str, object]:
    """Return how alike a method's maps are before and after, and what that means.

    Figures are None where there is no map, or where one is constant, in which case nothing can be told.
    """
    judged = cascade.judged
    smooth = (before.smooth.get(name), judged.smooth.get(name) if judged else None)
    pairs = list(zip(before.maps[name], judged.maps[name], strict=True)) if judged else []
    ends = list(zip(before.maps[name], cascade.last.get(name, ()), strict=False))
    alike = _average([_alike(*pair) for pair in pairs])
    return {
        "depends_on_weights": None if alike is None else alike < THRESHOLD,
        "spearman": alike,
        "ssim": _average([_compared(ssim, *pair) for pair in pairs]),
        "smooth_spearman": _alike(*smooth),
        "fully_random_spearman": _average([_alike(*pair) for pair in ends]),
        "complexity_rise": _average([_compared(_rise, *pair) for pair in ends]),
        "cascade": list(cascade.alike.get(name, ())),
    }


def _compared(figure: Callable[[Map, Map], float | None], before: Found, after: Found) -> float | None:
    """Return a figure of two maps, reduced to their largest channel; None where one is missing or flat."""
    if not (isinstance(before, Tensor) and isinstance(after, Tensor)):
        return None
    first, second = (each.abs().amax(0).double().cpu().numpy() for each in (before, after))
    if not (np.isfinite(first).all() and np.isfinite(second).all()) or not np.ptp(first) or not np.ptp(second):
        return None
    value = figure(first, second)
    return None if value is None else round(value, 4)


def _alike(before: Found, after: Found) -> float | None:
    return _compared(spearman, before, after)


def _rise(first: Map, second: Map) -> float | None:
    """Return the relative rise of complexity from the first map to the second, None from none at all."""
    simple = complexity(first)
    return complexity(second) / simple - 1 if simple else None


def _average(values: Sequence[float | None]) -> float | None:
    """Return the mean of the values that are known."""
    known = [value for value in values if value is not None]
    return round(fmean(known), 4) if known else None


def batch_error(classifier: Classifier, maker: Maker, name: str, together: Found) -> float | None:
    """Return the relative difference in norm between the first picture's map made in a batch and made alone.

    Where it is large it is measured again in float64, beside the other methods: a rectifier at its kink may take
    float32's rounding for a sign. None where there is no map.
    """
    error = _apart(maker.maps(classifier, [name], 1)[name][0], together)
    if error is None or error <= BATCH_TOLERANCE:
        return error
    with doubled(classifier) as exact:
        wide = replace(maker, inputs=tuple(x.double() for x in maker.inputs))
        alone = wide.maps(exact, [name], 1)[name][0]
        together = wide.maps(exact, list(wide.methods), len(wide.inputs))[name][0]
    return _apart(alone, together)


def _apart(alone: Found, together: Found) -> float | None:
    """Return how far two maps are apart, relative to the first."""
    if not (isinstance(alone, Tensor) and isinstance(together, Tensor)):
        return None
    norm, apart = float(alone.norm()), float((alone - together).norm())
    return apart / (norm or 1.0) if math.isfinite(norm + apart) else None


def mixing(figures: Mapping[str, object]) -> str | None:
    """Return why an archive is refused whose maps depend on what is explained beside them; None where none does."""
    methods = cast("Mapping[str, Mapping[str, float | None]]", figures["methods"])
    errors = {name: said["batch_error"] or 0.0 for name, said in methods.items()}
    worst = max(errors, key=lambda name: errors[name], default=None)
    if worst is None or errors[worst] <= BATCH_TOLERANCE:
        return None
    return f"the map of '{worst}' made in a batch differs from the one made alone by {errors[worst]:.1%} in norm"
