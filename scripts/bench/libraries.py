"""Our engine beside Captum and pytorch-grad-cam in one process: the time and the memory of the same work."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from scripts.bench.beside import ENGINE, PREPARED, Work, check, runs, works
from scripts.bench.figures import Figure, beside_library, memory_beside_library
from scripts.bench.memory import Task, peak
from scripts.bench.networks import plain_network
from scripts.bench.plan import MEGA, Bench, Notes
from scripts.bench.timing import measured, ratios

BATCH = 8
PROCESSES = 3  # of each work whose memory is measured: it differs little between them


def captum(bench: Bench) -> Iterator[Figure]:
    """Yield the times of batches explained by our engine and by the libraries, predictions and maps on both sides."""
    notes, plan = Notes("captum", bench.name), bench.plan
    plain = plain_network(bench.folder, plan.device)
    for method in bench.methods:
        check(_works(bench, plain, method, 1), method)
        full = _works(bench, plain, method, BATCH)
        seconds = measured(runs(full), plan.long_rounds, plan.device, warm_up=1)
        libraries = list(full)[1:]
        yield from notes.ratios(seconds, {beside_library(method, name): (ENGINE, name) for name in libraries})
        yield from notes.times({f"{method}: {name}": values for name, values in seconds.items()})


def memory(bench: Bench) -> Iterator[Figure]:
    """Yield the peak memory of the same work, each in a process of its own."""
    notes, plan, rows = Notes("memory", bench.name), bench.plan, bench.explainer.capacity
    plain = plain_network(bench.folder, plan.device)
    for method in bench.methods:
        task = Task(bench.folder, plan.picture, method, rows, BATCH, plan.device)
        workers = [name for name in _works(bench, plain, method, 1) if not name.endswith(PREPARED)]
        count = min(PROCESSES, plan.long_rounds)
        taken = {worker: tuple(float(peak(task, worker).taken) for _ in range(count)) for worker in workers}
        for library in workers[1:]:
            yield notes.figure(memory_beside_library(method, library), "ratio", ratios(taken, ENGINE, library))
        for worker, found in taken.items():
            yield notes.figure(f"{method}: {worker}", "MB", tuple(value / MEGA for value in found))


def _works(bench: Bench, plain: nn.Module, method: str, batch: int) -> dict[str, Work]:
    return works(bench.explainer, plain, bench.explainer.capacity, bench.data, method, batch)
