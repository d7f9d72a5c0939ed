"""The section latency: single requests to the bare loop, the engine, the saliency handler and the default handler."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from tools.benchmark import measurements as named
from tools.benchmark.bare_loop import MEMORY_FORMATS, bare_loop, decoding, decoding_loop, engine_run, in_format
from tools.benchmark.measurements import Figure
from tools.benchmark.plan import Bench, FigureMaker
from tools.benchmark.served import IG, Served, best_classes, check_answers
from tools.benchmark.timing import Run, time_runs

TARGETS = 5
LOOP, ENGINE, SERVED = "bare loop + decoding", "engine", "served explanation"
SERVED_RATIOS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        named.EXPLANATION: (SERVED, LOOP),
        named.BACKWARD: (SERVED, "served prediction"),
        named.PREDICTION: ("served prediction", "default handler's prediction"),
        named.DEFAULT: ("default handler's explanation", SERVED),
        named.SAME: ("default handler's explanation", "served IG-15"),
        named.TARGETS: ("served, five targets", "served, five requests"),
    }
)


def latency(bench: Bench) -> Iterator[Figure]:
    """Yield the times of single requests, and those of batches in this process."""
    maker, model, data = FigureMaker("latency", bench.name), bench.bare, bench.data
    runs: dict[str, Run] = {
        "decoding": decoding(model, data),
        **{f"bare loop, {name}": bare_loop(in_format(model, each), data) for name, each in MEMORY_FORMATS.items()},
        LOOP: decoding_loop(model, data),
        ENGINE: engine_run(bench.explainer, data),
    }
    pairs = {f"{ENGINE} / {LOOP}": (ENGINE, LOOP)}
    if bench.served:
        for name, size in check_answers(bench.served, bench.explainer, data).items():
            yield maker.figure(name, "bytes", (float(size),))
        runs |= requests(bench.served, data)
        pairs |= SERVED_RATIOS
        pairs |= {f"{name} / {LOOP}": (name, LOOP) for name in runs if name.startswith(f"{SERVED}, ")}
    seconds = time_runs(runs, bench.plan.rounds, bench.plan.device)
    yield from maker.ratios(seconds, pairs)
    yield from maker.times(seconds)
    yield from _batches(bench, maker)


def requests(served: Served, data: bytes) -> dict[str, Run]:
    """Return runs of single requests to the saliency handler and to the default handler."""
    model, default = served.models[1], served.default
    classes = best_classes(served, data, TARGETS)
    single_targets = [served.request_run(f"/explanations/{model}/1.0/target={index}", data) for index in classes]
    return {
        SERVED: served.request_run(f"/explanations/{model}", data),
        **{
            f"{SERVED}, batch size {size}": served.request_run(f"/explanations/{name}", data)
            for size, name in served.models.items()
            if size > 1
        },
        "served prediction": served.request_run(f"/predictions/{model}", data),
        "served IG-15": served.request_run(f"/explanations/{model}/1.0/{IG}&target=0", data),
        "served, five targets": served.request_run(f"/explanations/{model}/1.0/target=top{TARGETS}", data),
        "served, five requests": _in_sequence(single_targets),
        "default handler's prediction": served.request_run(f"/predictions/{default}", data),
        "default handler's explanation": served.request_run(f"/explanations/{default}", data),
    }


def _in_sequence(runs: list[Run]) -> Run:
    def run() -> None:
        for each in runs:
            each()

    return run


def _batches(bench: Bench, maker: FigureMaker) -> Iterator[Figure]:
    """Yield the times of batches of more than one picture in this process."""
    model, data, plan = bench.bare, bench.data, bench.plan
    for size in (size for size in plan.batch_sizes if size > 1):
        names = [f"{name}, batch of {size}" for name in (ENGINE, LOOP, "bare loop")]
        runs = (
            engine_run(bench.explainer, data, size, size),
            decoding_loop(model, data, size, size),
            bare_loop(model, data, size),
        )
        seconds = time_runs(dict(zip(names, runs, strict=True)), plan.rounds, plan.device)
        yield from maker.ratios(seconds, {f"{names[0]} / {LOOP}": (names[0], names[1])})
        yield from maker.times(seconds)
