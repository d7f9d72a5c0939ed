"""What came of a soak: figures by kind, the workers' memory over time, the faults, as JSON and Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from scripts.soaking.load import TIMEOUT, Result

PERCENTILES = (50, 90, 99)
WARM_UP = 0.2  # of the time, before memory is compared


@dataclass(frozen=True)
class Sample:
    """The workers' resident memory at a moment, in bytes, and who they are."""

    at: float
    memory: int
    pids: tuple[int, ...]


@dataclass(frozen=True)
class Fault:
    """A fault: when it came, what the requests in flight or begun before its end got, and the seconds to recovery.

    `failed` is why it could not be made to happen to its end.
    """

    name: str
    at: float = 0
    skipped: str = ""
    got: Mapping[str, int] = field(default_factory=dict)
    slowest: float = 0
    recovery: float | None = None
    wrong: int = 0
    failed: str = ""


@dataclass(frozen=True)
class Soak:
    """What came of a soak: until `ended` it was load alone, then came the faults; times are of the monotonic clock."""

    results: Sequence[Result]
    samples: Sequence[Sample]
    ended: float
    faults: Sequence[Fault] = ()

    @property
    def before(self) -> list[Result]:
        """Return the requests that were answered before the faults."""
        return [result for result in self.results if result.end <= self.ended]


def fault(name: str, since: float, during: Sequence[Result]) -> Fault:
    """Return what a fault at `since` did to the requests that were in flight then or begun later.

    Recovery is the end of the first well-formed request that was begun after the last lost one and answered right.
    """
    last = max((r.begun for r in during if r.lost), default=since)
    until = min((r.end for r in during if r.right and r.kind != "hostile" and r.begun > max(last, since)), default=None)
    hit = [r for r in during if until is None or r.begun <= until]
    slowest = max((r.seconds for r in hit if r.right), default=0.0)
    wrong = sum(bool(r.wrong) and not r.lost for r in during)
    return Fault(name, since, "", outcomes(hit), slowest, None if until is None else until - since, wrong)


def growth(soak: Soak) -> float:
    """Return how much the memory grew from the end of the warm-up to the faults, as a share: a line through it."""
    samples = [sample for sample in soak.samples if sample.at <= soak.ended]
    begin, end = samples[0].at, samples[-1].at
    after = [(s.at, s.memory) for s in samples if s.at >= begin + WARM_UP * (end - begin)]
    if len(after) < 2:
        return 0.0
    times, memory = np.array(after, float).T
    slope, start = np.polyfit(times - times[0], memory, 1)
    return float(slope * (times[-1] - times[0]) / start)


def latencies(results: Sequence[Result]) -> dict[str, dict[str, float]]:
    """Return count, percentiles and the greatest of the milliseconds of each kind of request, and of all."""
    kinds = sorted({result.kind for result in results})
    groups = {"all": results, **{kind: [r for r in results if r.kind == kind] for kind in kinds}}
    return {name: _spread([1e3 * r.seconds for r in group if not r.lost]) for name, group in groups.items()}


def _spread(ms: Sequence[float]) -> dict[str, float]:
    if not ms:
        return {"count": 0}
    found = {f"p{p}": float(np.percentile(ms, p)) for p in PERCENTILES}
    return {"count": len(ms), **found, "max": max(ms)}


def outcomes(results: Sequence[Result]) -> dict[str, int]:
    """Return how many requests ended how: right, wrong, or lost with a status or without a reply."""
    names = ("right" if r.right else f"lost ({r.status or r.wrong})" if r.lost else "wrong" for r in results)
    return dict(sorted(Counter(names).items(), reverse=True))


def complaints(soak: Soak) -> Iterator[str]:
    """Yield what a soak is not to have: wrong answers, losses before the faults, faults not made or not over."""
    yield from (f"FAILED: {fault.name}: {fault.failed}" for fault in soak.faults if fault.failed)
    ended = (fault for fault in soak.faults if fault.recovery is None and not fault.skipped)
    yield from (f"NO RECOVERY: {fault.name}" for fault in ended)
    for result in soak.results:
        if result.wrong and not result.lost:
            yield f"WRONG: {result.kind}: {result.status} {result.wrong}"
    yield from (f"LOST: {result.kind}: {result.status} {result.wrong}" for result in soak.before if result.lost)


def markdown(said: Mapping[str, object], soak: Soak, picture: str) -> str:
    """Return the report as a page, with the name of its plot."""
    return "\n".join([*_head(said, soak), "", f"![memory and latency over time]({picture})", *_faults(soak)]) + "\n"


def _head(said: Mapping[str, object], soak: Soak) -> Iterator[str]:
    before = soak.before
    memory = [sample.memory / 1e6 for sample in soak.samples if sample.at <= soak.ended]
    first, last, most = memory[0], memory[-1], max(memory)
    yield "# Soak"
    yield ""
    yield "Made by `python scripts/soak.py`: " + ", ".join(f"{name} {value}" for name, value in said.items()) + "."
    yield "Every client asks again as soon as it is answered; a fifth of the requests are hostile ones of the corpus."
    yield "Every answer is compared with the one that the same request was given alone."
    yield ""
    counted = ", ".join(f"{count:,} {name}" for name, count in outcomes(before).items())
    rate = len(before) / (soak.ended - soak.samples[0].at)
    yield f"- {len(before):,} requests, {rate:.0f} a second: {counted}."
    yield f"- Memory of the workers: {first:,.0f} MB at first, {last:,.0f} MB at last, {most:,.0f} MB at most;"
    yield f"  {growth(soak):+.1%} from the end of the warm-up (a fifth of the time) to the end, by a line through it."
    yield ""
    yield "| kind | requests | p50 ms | p90 ms | p99 ms | max ms |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for name, spread in latencies(before).items():
        figures = [f"{spread[key]:,.0f}" if key in spread else "" for key in ("p50", "p90", "p99", "max")]
        yield f"| {name} | {int(spread['count']):,} | {' | '.join(figures)} |"


def _faults(soak: Soak) -> Iterator[str]:
    if not soak.faults:
        return
    yield from ("", "## Faults under the same load", "")
    yield "Counted are the requests in flight at the fault and those begun until recovery, which is when a well-formed"
    yield "request that was begun after the last lost one is answered right."
    yield f"Clients give an answer up after {TIMEOUT:.0f} s."
    yield ""
    yield "| fault | requests | slowest right answer, s | recovery, s | wrong answers, then and later |"
    yield "| --- | --- | --- | --- | --- |"
    for found in soak.faults:
        if found.skipped:
            yield f"| {found.name} | skipped: {found.skipped} | | | |"
            continue
        got = ", ".join(f"{count:,} {name}" for name, count in found.got.items())
        got = f"failed: {' '.join(found.failed.split()).replace('|', '/')}; {got}" if found.failed else got
        recovery = "none" if found.recovery is None else f"{found.recovery:.1f}"
        yield f"| {found.name} | {got} | {found.slowest:.1f} | {recovery} | {found.wrong} |"
