"""The report of a soak as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tools.markdown_table import markdown_table
from tools.soak.load import TIMEOUT
from tools.soak.measurements import Fault, Soak, growth, latencies, outcomes


def markdown(settings: Mapping[str, object], soak: Soak, plot: str) -> str:
    """Return the report; `plot` is the file name of its plot."""
    parts = [
        *_load(settings, soak),
        f"![memory and latency over time]({plot})",
        *(_faults(soak) if soak.faults else ()),
    ]
    return "\n\n".join(parts) + "\n"


def _load(settings: Mapping[str, object], soak: Soak) -> Iterator[str]:
    """Yield the paragraphs about the load without faults."""
    before = soak.before_faults
    memory = [sample.memory / 1e6 for sample in soak.samples if sample.at <= soak.ended]
    yield "# Load and faults"
    listed = ", ".join(f"{name} {value}" for name, value in settings.items())
    yield (
        "This page is for people who want to know how the server behaves under load and faults. It was made by\n"
        f"`python -m tools.soak`: {listed}.\n"
        "Each client sends a request as soon as its last one is answered; a fifth of the requests are hostile ones of\n"
        "the corpus. Each answer is compared with the answer to the same request without load."
    )
    counted = ", ".join(f"{count:,} {name}" for name, count in outcomes(before).items())
    rate = len(before) / (soak.ended - soak.samples[0].at)
    yield (
        f"- {len(before):,} requests, {rate:.0f} per second: {counted}.\n"
        f"- Memory of the workers: {memory[0]:,.0f} MB at the start, {memory[-1]:,.0f} MB at the end, maximum "
        f"{max(memory):,.0f} MB;\n"
        f"  {growth(soak):+.1%} from the end of the warm-up (a fifth of the time) to the end, by a fitted line."
    )
    keys = ("p50", "p90", "p99", "max")
    rows = [
        [name, f"{int(ms['count']):,}", *(f"{ms[key]:,.0f}" if key in ms else "" for key in keys)]
        for name, ms in latencies(before).items()
    ]
    yield markdown_table(["kind", "requests", *(f"{key} ms" for key in keys)], rows, "lrrrrr")


def _faults(soak: Soak) -> Iterator[str]:
    """Yield the paragraphs about the faults."""
    yield "## Faults under the same load"
    yield (
        "The requests column counts the requests in flight at the fault and those that began before recovery. The\n"
        "server has recovered when a valid request that began after the last lost one is answered correctly.\n"
        f"Clients wait {TIMEOUT:.0f} s for an answer."
    )
    header = ["fault", "requests", "slowest right answer, s", "recovery, s", "wrong answers, then and later"]
    yield markdown_table(header, [_fault_row(fault) for fault in soak.faults], "llrrr")


def _fault_row(fault: Fault) -> list[str]:
    if fault.skipped:
        return [fault.name, f"skipped: {fault.skipped}", "", "", ""]
    got = ", ".join(f"{count:,} {name}" for name, count in fault.got.items())
    got = f"failed: {fault.failed.strip()}; {got}" if fault.failed else got
    recovery = "none" if fault.recovery is None else f"{fault.recovery:.1f}"
    return [fault.name, got, f"{fault.slowest:.1f}", recovery, str(fault.wrong)]
