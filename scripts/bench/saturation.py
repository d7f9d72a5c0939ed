"""A server that always has work, beside loops in this process that have as much."""

from __future__ import annotations

from collections.abc import Iterator

from scripts.bench.figures import Figure
from scripts.bench.loops import decoding_loop, engine, in_two_threads
from scripts.bench.plan import MEGA, Bench, Notes
from scripts.bench.timing import measured
from scripts.bench.wire import connections, saturating

LOOP, ENGINE_RUN = "bare loop + decoding", "engine"
FEWEST = 32  # requests that are counted, in whole batches, and four batches at least


def saturation(bench: Bench) -> Iterator[Figure]:
    """Yield requests a second of a server that always has work, and of loops in this process that have as much."""
    assert bench.served
    notes, model, data = Notes("saturation", bench.name), bench.bare, bench.data
    for size in bench.plan.batch_sizes:
        count = size * max(4, -(-FEWEST // size))
        with connections(bench.served.server.url, 2 * size) as clients:
            work = {
                "served": saturating(clients, f"/explanations/{bench.served.ours[size]}", data, count),
                LOOP: decoding_loop(model, data, size, count),
                f"{LOOP} in two threads": decoding_loop(model, data, size, count, in_two_threads()),
                ENGINE_RUN: engine(bench.explainer, data, size, count),
            }
            seconds = measured(work, bench.plan.long_rounds, warm_up=1)
        for name in list(work)[1:]:
            said = f"served / {name}, requests a second, batch size {size}"
            yield from notes.ratios(seconds, {said: (name, "served")})
        for name, values in seconds.items():
            yield notes.figure(f"{name}, batch size {size}", "1/s", tuple(count / value for value in values))
    for name, size in bench.served.peak_bytes().items():
        yield Notes("memory", bench.name).figure(f"worker of '{name}', all of it", "MB", (size / MEGA,))
