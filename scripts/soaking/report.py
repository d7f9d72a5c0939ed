"""What came of a soak: figures by kind, the workers' memory over time, the faults, as JSON, Markdown and a plot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")

from matplotlib import pyplot as plt

from scripts.soaking.load import Result

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
    """A fault: when it came, what the requests in flight or begun before its end got, and the seconds to recovery."""

    name: str
    skipped: str = ""
    got: Mapping[str, int] | None = None
    recovery: float | None = None
    wrong: int = 0


def growth(samples: Sequence[Sample]) -> float:
    """Return how much the memory grew from the end of the warm-up to the end, as a share: a line through it."""
    begin, end = samples[0].at, samples[-1].at
    after = [(s.at, s.memory) for s in samples if s.at >= begin + WARM_UP * (end - begin)]
    times, memory = np.array(after, float).T
    if len(after) < 2:
        return 0.0
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
    found: dict[str, int] = {}
    for result in results:
        name = "right" if result.right else f"lost ({result.status or result.wrong})" if result.lost else "wrong"
        found[name] = found.get(name, 0) + 1
    return dict(sorted(found.items(), reverse=True))


def markdown(
    soak: Mapping[str, object], results: Sequence[Result], samples: Sequence[Sample], faults: Sequence[Fault]
) -> str:
    """Return the report as a page."""
    return "\n".join([*_head(soak, results, samples), *_faults(faults)]) + "\n"


def _head(soak: Mapping[str, object], results: Sequence[Result], samples: Sequence[Sample]) -> Iterator[str]:
    yield "# Soak"
    yield ""
    yield "Made by `python scripts/soak.py`: " + ", ".join(f"{name} {value}" for name, value in soak.items()) + "."
    yield "Every answer was compared with the one that the same request was given alone."
    yield ""
    counted = ", ".join(f"{count:,} {name}" for name, count in outcomes(results).items())
    yield f"- {len(results):,} requests: {counted}."
    memory = f"{samples[0].memory / 1e6:,.0f} MB at first, {samples[-1].memory / 1e6:,.0f} MB at last"
    yield f"- Memory of the workers: {memory}; {growth(samples):+.1%} from the end of the warm-up (a fifth) to the end."
    yield f"- Workers' processes seen: {len({pid for s in samples for pid in s.pids})}."
    yield ""
    yield "![memory of the workers and latency over time](soak.png)"
    yield ""
    yield "| kind | requests | p50 ms | p90 ms | p99 ms | max ms |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for name, spread in latencies(results).items():
        figures = [f"{spread[key]:,.0f}" if key in spread else "" for key in ("p50", "p90", "p99", "max")]
        yield f"| {name} | {int(spread['count']):,} | {' | '.join(figures)} |"


def _faults(faults: Sequence[Fault]) -> Iterator[str]:
    if not faults:
        return
    yield from ("", "## Faults under load", "")
    yield "| fault | requests in flight until recovery got | seconds to the first right answer | wrong answers after |"
    yield "| --- | --- | --- | --- |"
    for fault in faults:
        if fault.skipped:
            yield f"| {fault.name} | skipped: {fault.skipped} | | |"
            continue
        got = ", ".join(f"{count:,} {name}" for name, count in (fault.got or {}).items())
        recovery = "none" if fault.recovery is None else f"{fault.recovery:.1f}"
        yield f"| {fault.name} | {got} | {recovery} | {fault.wrong} |"


def plot(results: Sequence[Result], samples: Sequence[Sample], path: Path) -> None:
    """Write memory and latency over time as a PNG."""
    begin = samples[0].at
    picture, (above, below) = plt.subplots(2, 1, figsize=(9, 6), sharex=True, layout="constrained")
    above.plot([s.at - begin for s in samples], [s.memory / 1e6 for s in samples], color="#2f6db3")
    above.set(ylabel="workers' memory, MB", ylim=(0, None))
    told = [r for r in results if not r.lost]
    times, ms = [r.begun - begin for r in told], [1e3 * r.seconds for r in told]
    below.plot(times, ms, ".", ms=1.5, color="#3b8f5a", alpha=0.4)
    lost = [r for r in results if r.lost]
    below.plot([r.begun - begin for r in lost], [1e3 * r.seconds for r in lost], "x", ms=4, color="#c0392b")
    below.set(ylabel="a request, ms (crosses: lost)", xlabel="seconds", yscale="log")
    picture.savefig(path, dpi=110)
    plt.close(picture)
