"""The section methods: every method compared with a plain forward pass and with the libraries that have it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from tools.benchmark.bare_loop import inputs, queries
from tools.benchmark.comparison import ENGINE, Work, as_runs, engine_maps
from tools.benchmark.equal_work import DIFFERENCES, library_methods, settings
from tools.benchmark.measurements import Figure
from tools.benchmark.method_table import METHODS as SECTION
from tools.benchmark.method_table import agreement_name, forward_ratio, library_time_ratio
from tools.benchmark.networks import plain_network
from tools.benchmark.plan import Bench, FigureMaker
from tools.benchmark.reference_implementations import LibraryInput, has_spatial_output
from tools.benchmark.timing import Run, time_run, time_runs
from torchserve_saliency.methods import METHODS
from torchserve_saliency.methods.base import Need, Shows
from torchserve_saliency.model.classifier import Classifier
from torchserve_saliency.requests.compatibility import unsupported_reason

FORWARD = "forward"
SIZES = (1, 8)
PASSES = 5  # a run of forward passes is the median of this number, because a single one is short
FEW_PASSES = 4  # heavy networks are only measured with methods of at most this number of passes
FAILURES = (RuntimeError, ValueError, LookupError, TypeError, AttributeError, AssertionError, ImportError)


@dataclass(frozen=True)
class Agreement:
    """The correlation of each library's maps with the engine's, or the reason if the library fails."""

    correlations: Mapping[str, float]
    failures: Mapping[str, str]


def methods(bench: Bench) -> Iterator[Figure]:
    """Yield the times of engine and libraries relative to a forward pass, and the correlations of their maps."""
    plain = plain_network(bench.folder, bench.plan.device)
    for method in supported_methods(bench):
        agreement = compare_maps(work_by_library(bench, plain, method, 1))
        for library, value in agreement.correlations.items():
            if math.isfinite(value):  # it is NaN if a map is constant
                yield FigureMaker(SECTION, bench.name).figure(agreement_name(method, library), "ratio", (value,))
        for size in [n for n in SIZES if n in bench.plan.batch_sizes] or bench.plan.batch_sizes:
            work = work_by_library(bench, plain, method, size)
            working = {name: each for name, each in work.items() if name not in agreement.failures}
            yield from _times(bench, method, size, working, agreement)


def supported_methods(bench: Bench) -> list[str]:
    """Return the requested methods that the network supports; by default all, or those of few passes if it is heavy."""
    model, requested = bench.explainer.classifier, bench.plan.methods
    return [
        name
        for name, method in METHODS.items()
        if (name in requested if requested else not (bench.network.heavy and count_passes(name, model) > FEW_PASSES))
        and method.shows is not Shows.INPUT  # has no input picture to compare with
        and unsupported_reason(name, model) is None
    ]


def count_passes(method: str, model: Classifier) -> int:
    """Return the maximum number of rows that a method runs forward and backward, with the section's settings."""
    entry = METHODS[method]
    parameters = entry.parameters(**{"layer": model.layers.default} if Need.LAYER in entry.needs else {})
    cost = entry.cost(replace(parameters, **settings(method, model.input)), model.input)
    return cost.forward_passes(1) + cost.backwards


def work_by_library(bench: Bench, plain: nn.Module, method: str, size: int) -> dict[str, Work]:
    """Return the functions that compute a method's maps of `size` pictures: the engine's first, then each library's."""
    model, chosen = bench.explainer.classifier, settings(method, bench.explainer.classifier.input)
    batch = queries(bench.explainer, bench.data, size, {"method": method, "reduce": "none", **chosen})
    x = inputs(model, [query.picture.tensor for query in batch]).contiguous()
    given = LibraryInput(plain, x, model.layers.default or "", bench.explainer.capacity, chosen)
    has_tokens = Need.LAYER in METHODS[method].needs and not has_spatial_output(given)
    work: dict[str, Work] = {ENGINE: partial(engine_maps, bench.explainer, batch)}
    for library in () if has_tokens else library_methods(method):
        work[library.package] = partial(library.explain, given)
    return work


def compare_maps(work: Mapping[str, Work]) -> Agreement:
    """Return the correlations of the libraries' maps with the engine's. An exception is recorded as a failure."""
    ours, correlations, failures = work[ENGINE](), {}, {}
    for name in list(work)[1:]:
        try:
            correlations[name] = correlation(ours, work[name]())
        except FAILURES as error:
            failures[name] = f"{name} fails: {type(error).__name__}: {(str(error).splitlines() or [''])[0][:160]}"
    return Agreement(correlations, failures)


def correlation(ours: Tensor, theirs: Tensor) -> float:
    """Return the Pearson correlation of two sets of maps [n, …]. If only one has channels, they are summed."""
    one, other = (each[:, None] if each.dim() == 3 else each for each in (ours.double(), theirs.double()))
    if one.shape[1] != other.shape[1]:
        one, other = one.sum(1), other.sum(1)
    return float(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1])


def forward_run(bench: Bench, size: int) -> Run:
    """Return a run that times forward passes of the prepared network in inference mode and returns their median."""
    x = inputs(bench.bare, [query.picture.tensor for query in queries(bench.explainer, bench.data, size)])

    def once() -> None:
        with torch.inference_mode():
            bench.bare.network(x).cpu()

    return lambda: statistics.median(time_run(once, bench.plan.device) for _ in range(PASSES))


def _times(bench: Bench, method: str, size: int, work: Mapping[str, Work], agreement: Agreement) -> Iterator[Figure]:
    """Yield the times of a method for `size` pictures, and their ratios."""
    maker, plan = FigureMaker(SECTION, bench.name), bench.plan
    seconds = time_runs({FORWARD: forward_run(bench, size), **as_runs(work)}, plan.long_rounds, plan.device, warm_up=1)
    parameters = [f"{name} {value}" for name, value in settings(method, bench.explainer.classifier.input).items()]
    engine_note = ", ".join(parameters), *agreement.failures.values()
    for worker in work:
        pairs = {forward_ratio(method, worker, size): (worker, FORWARD)}
        pairs |= {library_time_ratio(method, worker, size): (ENGINE, worker)} if worker != ENGINE else {}
        note = "; ".join(filter(None, engine_note)) if worker == ENGINE else DIFFERENCES.get(method, "")
        yield from (replace(figure, note=note) for figure in maker.ratios(seconds, pairs))
    yield from maker.times({f"{method}, batch of {size}: {name}": values for name, values in seconds.items()})
