"""Every method beside a plain forward pass of the same pictures, and beside the library that has it too."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from saliency.methods import METHODS
from saliency.methods.base import Need, Shows
from saliency.model import Classifier
from saliency.needs import lacking
from scripts.bench.beside import ENGINE, Work, maps, runs
from scripts.bench.equal import DIFFERS, rivals, settings
from scripts.bench.figures import Figure
from scripts.bench.loops import inputs, queries
from scripts.bench.networks import plain_network
from scripts.bench.plan import Bench, Notes
from scripts.bench.rivals import Subject, has_grid
from scripts.bench.table import METHODS as SECTION
from scripts.bench.table import agreement, beside, over_forward
from scripts.bench.timing import Run, measured, timed

FORWARD = "forward"
SIZES = (1, 8)
PASSES = 5  # forward passes that one run of them is the median of: a single one is short beside a method
FEW = 4  # passes: the methods that a heavy network is measured with
FAILURES = (RuntimeError, ValueError, LookupError, TypeError, AttributeError, AssertionError, ImportError)


@dataclass(frozen=True)
class Known:
    """What the first look at a method has shown: each library's correlation with our maps, or why it has none."""

    agreements: Mapping[str, float]
    failures: Mapping[str, str]


def methods(bench: Bench) -> Iterator[Figure]:
    """Yield each method's time over a forward pass, the libraries' over the same, and how far the maps agree."""
    plain = plain_network(bench.folder, bench.plan.device)
    for method in taken(bench):
        known = look(works(bench, plain, method, 1))
        for library, value in known.agreements.items():
            if math.isfinite(value):  # else a map is the same everywhere
                yield Notes(SECTION, bench.name).figure(agreement(method, library), "ratio", (value,))
        for size in [n for n in SIZES if n in bench.plan.batch_sizes] or bench.plan.batch_sizes:
            found = works(bench, plain, method, size)
            yield from _times(bench, method, size, {n: w for n, w in found.items() if n not in known.failures}, known)


def taken(bench: Bench) -> list[str]:
    """Return the methods that the network takes of those asked for; of a heavy one those of few passes by default."""
    model, asked = bench.explainer.classifier, bench.plan.methods
    return [
        name
        for name, method in METHODS.items()
        if (name in asked if asked else not (bench.network.heavy and passes(name, model) > FEW))
        and method.shows is not Shows.INPUT  # is made without a picture, so there is no forward pass of one
        and lacking(name, model) is None
    ]


def passes(method: str, model: Classifier) -> int:
    """Return how many rows a method runs forward and backward at most, with the section's settings."""
    entry = METHODS[method]
    parameters = entry.parameters(**{"layer": model.layers.default} if Need.LAYER in entry.needs else {})
    cost = entry.cost(replace(parameters, **settings(method, model.input)), model.input)
    return cost.pictures(1) + cost.backwards


def works(bench: Bench, plain: nn.Module, method: str, size: int) -> dict[str, Work]:
    """Return a method's work on `size` pictures by who does it, our engine first."""
    model, chosen = bench.explainer.classifier, settings(method, bench.explainer.classifier.input)
    asked = queries(bench.explainer, bench.data, size, {"method": method, "reduce": "none", **chosen})
    x = inputs(model, [query.picture.tensor for query in asked]).contiguous()
    subject = Subject(plain, x, model.layers.default or "", bench.explainer.capacity, chosen)
    gridless = Need.LAYER in METHODS[method].needs and not has_grid(subject)
    found: dict[str, Work] = {ENGINE: partial(maps, bench.explainer, asked)}
    for rival in () if gridless else rivals(method):
        found[rival.package] = partial(rival.explain, subject)
    return found


def look(found: Mapping[str, Work]) -> Known:
    """Return what each library finds beside our engine; whatever it raises is why it is not measured."""
    ours, agreements, failures = found[ENGINE](), {}, {}
    for name in list(found)[1:]:
        try:
            agreements[name] = correlation(ours, found[name]())
        except FAILURES as error:
            failures[name] = f"{name} fails: {type(error).__name__}: {(str(error).splitlines() or [''])[0][:160]}"
    return Known(agreements, failures)


def correlation(ours: Tensor, theirs: Tensor) -> float:
    """Return the Pearson correlation of two sets of maps [n, …], summed over channels where but one has channels."""
    one, other = (each[:, None] if each.dim() == 3 else each for each in (ours.double(), theirs.double()))
    if one.shape[1] != other.shape[1]:
        one, other = one.sum(1), other.sum(1)
    return float(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1])


def forward(bench: Bench, size: int) -> Run:
    """Return plain forward passes of the prepared network in inference mode, as one run of a pass's median seconds."""
    x = inputs(bench.bare, [query.picture.tensor for query in queries(bench.explainer, bench.data, size)])

    def once() -> None:
        with torch.inference_mode():
            bench.bare.network(x).cpu()

    return lambda: statistics.median(timed(once, bench.plan.device) for _ in range(PASSES))


def _times(bench: Bench, method: str, size: int, found: Mapping[str, Work], known: Known) -> Iterator[Figure]:
    """Yield the figures of a method on `size` pictures."""
    notes, plan = Notes(SECTION, bench.name), bench.plan
    seconds = measured({FORWARD: forward(bench, size), **runs(found)}, plan.long_rounds, plan.device, warm_up=1)
    ours = [f"{name} {value}" for name, value in settings(method, bench.explainer.classifier.input).items()]
    said = ", ".join(ours), *known.failures.values()
    for worker in found:
        pairs = {over_forward(method, worker, size): (worker, FORWARD)}
        pairs |= {beside(method, worker, size): (ENGINE, worker)} if worker != ENGINE else {}
        note = "; ".join(filter(None, said)) if worker == ENGINE else DIFFERS.get(method, "")
        yield from (replace(figure, note=note) for figure in notes.ratios(seconds, pairs))
    yield from notes.times({f"{method}, batch of {size}: {name}": values for name, values in seconds.items()})
