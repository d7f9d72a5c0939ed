"""The measurements of a soak: results of requests, samples of memory, and effects of faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tools.soak.load import Result

PERCENTILES = (50, 90, 99)
WARM_UP = 0.2  # share of the time that is ignored when the growth of memory is measured


@dataclass(frozen=True)
class Sample:
    """The workers' resident memory in bytes at a time, and their process identifiers."""

    at: float
    memory: int
    pids: tuple[int, ...]


@dataclass(frozen=True)
class Fault:
    """An injected fault: its time, the outcomes of the affected requests, and the seconds until recovery.

    `failed` is the error if the fault could not be injected, `skipped` the reason if this machine does not allow it.
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
    """The measurements of a soak. Faults are injected after `ended`. Times are of the monotonic clock."""

    results: Sequence[Result]
    samples: Sequence[Sample]
    ended: float
    faults: Sequence[Fault] = ()

    @property
    def before_faults(self) -> list[Result]:
        """Return the requests that were answered before the faults."""
        return [result for result in self.results if result.end <= self.ended]


def measure_fault(name: str, since: float, results: Sequence[Result]) -> Fault:
    """Return the effect of a fault at the time `since` on the requests that ended later.

    The server has recovered when a valid request that began after the last lost one is answered correctly.
    """
    last = max((r.begun for r in results if r.lost), default=since)
    recoveries = (r.end for r in results if r.right and r.kind != "hostile" and r.begun > max(last, since))
    until = min(recoveries, default=None)
    affected = [r for r in results if until is None or r.begun <= until]
    slowest = max((r.seconds for r in affected if r.right), default=0.0)
    wrong = sum(bool(r.wrong) and not r.lost for r in results)
    return Fault(name, since, "", outcomes(affected), slowest, None if until is None else until - since, wrong)


def growth(soak: Soak) -> float:
    """Return the relative growth of memory from the end of the warm-up to the faults, by a fitted line."""
    samples = [sample for sample in soak.samples if sample.at <= soak.ended]
    begin, end = samples[0].at, samples[-1].at
    after = [(s.at, s.memory) for s in samples if s.at >= begin + WARM_UP * (end - begin)]
    if len(after) < 2:
        return 0.0
    times, memory = np.array(after, float).T
    slope, start = np.polyfit(times - times[0], memory, 1)
    return float(slope * (times[-1] - times[0]) / start)


def latencies(results: Sequence[Result]) -> dict[str, dict[str, float]]:
    """Return count, percentiles and maximum of the milliseconds of all requests and of each kind."""
    kinds = sorted({result.kind for result in results})
    groups = {"all": results, **{kind: [r for r in results if r.kind == kind] for kind in kinds}}
    return {name: _percentiles([1e3 * r.seconds for r in group if not r.lost]) for name, group in groups.items()}


def _percentiles(ms: Sequence[float]) -> dict[str, float]:
    if not ms:
        return {"count": 0}
    percentiles = {f"p{p}": float(np.percentile(ms, p)) for p in PERCENTILES}
    return {"count": len(ms), **percentiles, "max": max(ms)}


def outcomes(results: Sequence[Result]) -> dict[str, int]:
    """Return the number of requests per outcome: right, wrong, or lost (with a status, or without a reply)."""
    names = ("right" if r.right else f"lost ({r.status or r.wrong})" if r.lost else "wrong" for r in results)
    return dict(sorted(Counter(names).items(), reverse=True))


def failures(soak: Soak) -> Iterator[str]:
    """Yield the reasons for which a soak fails: wrong answers, losses before the faults, faults without recovery."""
    yield from (f"FAILED: {fault.name}: {fault.failed}" for fault in soak.faults if fault.failed)
    unrecovered = (fault for fault in soak.faults if fault.recovery is None and not fault.skipped)
    yield from (f"NO RECOVERY: {fault.name}" for fault in unrecovered)
    for result in soak.results:
        if result.wrong and not result.lost:
            yield f"WRONG: {result.kind}: {result.status} {result.wrong}"
    yield from (f"LOST: {result.kind}: {result.status} {result.wrong}" for result in soak.before_faults if result.lost)
