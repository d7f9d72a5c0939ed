"""One request after the other: the bare loop, our engine, our handler and the default one over HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from scripts.bench import figures as named
from scripts.bench.figures import Figure
from scripts.bench.loops import FORMATS, bare_loop, decoding, decoding_loop, engine, in_format
from scripts.bench.plan import Bench, Notes
from scripts.bench.served import IG, Served, best_classes, check_answers
from scripts.bench.timing import Run, measured

TARGETS = 5
LOOP, ENGINE_RUN, SERVED = "bare loop + decoding", "engine", "served explanation"
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
    """Yield the times of one request after the other, and those of whole batches in this process."""
    notes, model, data = Notes("latency", bench.name), bench.bare, bench.data
    ours: dict[str, Run] = {
        "decoding": decoding(model, data),
        **{f"bare loop, {name}": bare_loop(in_format(model, each), data) for name, each in FORMATS.items()},
        LOOP: decoding_loop(model, data),
        ENGINE_RUN: engine(bench.explainer, data),
    }
    pairs = {f"{ENGINE_RUN} / {LOOP}": (ENGINE_RUN, LOOP)}
    if bench.served:
        for name, size in check_answers(bench.served, bench.explainer, data).items():
            yield notes.figure(name, "bytes", (float(size),))
        ours |= requests(bench.served, data)
        pairs |= SERVED_RATIOS
        pairs |= {f"{name} / {LOOP}": (name, LOOP) for name in ours if name.startswith(f"{SERVED}, ")}
    seconds = measured(ours, bench.plan.rounds, bench.plan.device)
    yield from notes.ratios(seconds, pairs)
    yield from notes.times(seconds)
    yield from _batches(bench, notes)


def requests(served: Served, data: bytes) -> dict[str, Run]:
    """Return single requests, one at a time over one connection, ours and the default handler's alike."""
    ours, default = served.ours[1], served.default
    classes = best_classes(served, data, TARGETS)
    each = [served.ask(f"/explanations/{ours}/1.0/target={index}", data) for index in classes]
    return {
        SERVED: served.ask(f"/explanations/{ours}", data),
        **{
            f"{SERVED}, batch size {size}": served.ask(f"/explanations/{name}", data)
            for size, name in served.ours.items()
            if size > 1
        },
        "served prediction": served.ask(f"/predictions/{ours}", data),
        "served IG-15": served.ask(f"/explanations/{ours}/1.0/{IG}&target=0", data),
        "served, five targets": served.ask(f"/explanations/{ours}/1.0/target=top{TARGETS}", data),
        "served, five requests": _one_after_another(each),
        "default handler's prediction": served.ask(f"/predictions/{default}", data),
        "default handler's explanation": served.ask(f"/explanations/{default}", data),
    }


def _one_after_another(several: list[Run]) -> Run:
    def run() -> None:
        for each in several:
            each()

    return run


def _batches(bench: Bench, notes: Notes) -> Iterator[Figure]:
    """Yield the times of larger batches in this process."""
    model, data, plan = bench.bare, bench.data, bench.plan
    for size in (size for size in plan.batch_sizes if size > 1):
        names = [f"{name}, batch of {size}" for name in (ENGINE_RUN, LOOP, "bare loop")]
        work = (
            engine(bench.explainer, data, size, size),
            decoding_loop(model, data, size, size),
            bare_loop(model, data, size),
        )
        seconds = measured(dict(zip(names, work, strict=True)), plan.rounds, plan.device)
        yield from notes.ratios(seconds, {f"{names[0]} / {LOOP}": (names[0], names[1])})
        yield from notes.times(seconds)
