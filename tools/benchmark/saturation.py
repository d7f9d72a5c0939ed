"""The section saturation: the throughput of a saturated server, compared with loops in this process."""

from __future__ import annotations

from collections.abc import Iterator

from tools.benchmark.bare_loop import decoding_loop, engine_run, two_thread_map
from tools.benchmark.http_connections import connections, saturation_run
from tools.benchmark.measurements import Figure
from tools.benchmark.plan import MEGA, Bench, FigureMaker
from tools.benchmark.timing import time_runs

LOOP, ENGINE = "bare loop + decoding", "engine"
MIN_REQUESTS = 32  # counted requests, rounded up to whole batches; at least four batches


def saturation(bench: Bench) -> Iterator[Figure]:
    """Yield the throughput of a saturated server and of loops in this process, and the workers' peak memory."""
    assert bench.served
    maker, model, data = FigureMaker("saturation", bench.name), bench.bare, bench.data
    for size in bench.plan.batch_sizes:
        count = size * max(4, -(-MIN_REQUESTS // size))
        with connections(bench.served.server.url, 2 * size) as clients:
            runs = {
                "served": saturation_run(clients, f"/explanations/{bench.served.models[size]}", data, count),
                LOOP: decoding_loop(model, data, size, count),
                f"{LOOP} in two threads": decoding_loop(model, data, size, count, two_thread_map()),
                ENGINE: engine_run(bench.explainer, data, size, count),
            }
            seconds = time_runs(runs, bench.plan.long_rounds, warm_up=1)
        for name in list(runs)[1:]:
            ratio = f"served / {name}, requests per second, batch size {size}"
            yield from maker.ratios(seconds, {ratio: (name, "served")})
        for name, values in seconds.items():
            yield maker.figure(f"{name}, batch size {size}", "1/s", tuple(count / value for value in values))
    for name, size in bench.served.peak_bytes().items():
        yield FigureMaker("memory", bench.name).figure(f"worker of '{name}', total", "MB", (size / MEGA,))
