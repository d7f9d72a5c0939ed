"""The sections captum and memory: time and peak memory of the engine, Captum and pytorch-grad-cam for equal work."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from tools.benchmark.comparison import ENGINE, PREPARED, Work, as_runs, check_maps, work_by_library
from tools.benchmark.measurements import Figure, library_ratio, memory_ratio
from tools.benchmark.memory import MemoryTask, measure_peak
from tools.benchmark.networks import plain_network
from tools.benchmark.plan import MEGA, Bench, FigureMaker
from tools.benchmark.timing import ratios, time_runs

BATCH = 8
PROCESSES = 3  # memory is measured in this number of processes; it varies little between them


def captum(bench: Bench) -> Iterator[Figure]:
    """Yield the times that the engine and the libraries take for predictions and maps of a batch."""
    maker, plan = FigureMaker("captum", bench.name), bench.plan
    plain = plain_network(bench.folder, plan.device)
    for method in bench.methods:
        check_maps(_work(bench, plain, method, 1), method)
        work = _work(bench, plain, method, BATCH)
        seconds = time_runs(as_runs(work), plan.long_rounds, plan.device, warm_up=1)
        libraries = list(work)[1:]
        yield from maker.ratios(seconds, {library_ratio(method, name): (ENGINE, name) for name in libraries})
        yield from maker.times({f"{method}: {name}": values for name, values in seconds.items()})


def memory(bench: Bench) -> Iterator[Figure]:
    """Yield the peak memory of equal work, each in a process of its own."""
    maker, plan, rows = FigureMaker("memory", bench.name), bench.plan, bench.explainer.capacity
    plain = plain_network(bench.folder, plan.device)
    for method in bench.methods:
        task = MemoryTask(bench.folder, plan.picture, method, rows, BATCH, plan.device)
        workers = [name for name in _work(bench, plain, method, 1) if not name.endswith(PREPARED)]
        count = min(PROCESSES, plan.long_rounds)
        peaks = {worker: tuple(float(measure_peak(task, worker).taken) for _ in range(count)) for worker in workers}
        for library in workers[1:]:
            yield maker.figure(memory_ratio(method, library), "ratio", ratios(peaks, ENGINE, library))
        for worker, values in peaks.items():
            yield maker.figure(f"{method}: {worker}", "MB", tuple(value / MEGA for value in values))


def _work(bench: Bench, plain: nn.Module, method: str, batch: int) -> dict[str, Work]:
    return work_by_library(bench.explainer, plain, bench.explainer.capacity, bench.data, method, batch)
