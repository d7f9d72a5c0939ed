"""The report of a soak: requests, memory and faults."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tools.soak import measurements
from tools.soak.load import Result
from tools.soak.measurements import Fault, Sample, Soak
from tools.soak.plot import plot
from tools.soak.report import markdown


@pytest.mark.parametrize(
    ("memory", "expected"), [(lambda t: 100, 0.0), (lambda t: 100 + t, 80 / 120), (lambda t: 200 if t < 20 else 100, 0)]
)
def test_growth_is_measured_by_a_line_after_the_warm_up(memory: Callable[[int], float], expected: float) -> None:
    samples = [Sample(float(t), int(memory(t)), (1,)) for t in range(101)]
    samples.append(Sample(101.0, 9_999, (2,)))  # during the faults, which does not count
    assert measurements.growth(Soak([], samples, ended=100.0)) == pytest.approx(expected, abs=1e-6)


def test_the_report_counts_right_wrong_and_lost_requests(tmp_path: Path) -> None:
    results = [Result("gradient", t, 0.01 * t, 200) for t in range(1, 101)]
    results += [Result("hostile", 5, 0.001, 400), Result("gradient", 6, 1, 200, "another map")]
    results += [Result("gradient", 7, 1, 503, "503", lost=True), Result("gradient", 8, 1, None, "OSError", lost=True)]
    assert measurements.outcomes(results) == {"right": 101, "wrong": 1, "lost (503)": 1, "lost (OSError)": 1}
    latencies = measurements.latencies(results[:100])["gradient"]
    assert list(latencies.values()) == pytest.approx([100, 505, 901, 990.1, 1000])
    samples = [Sample(0, 100_000_000, (1,)), Sample(50, 100_000_000, (1,)), Sample(100, 120_000_000, (1, 2))]
    faults = [
        Fault("worker killed", 101, got={"right": 3}, slowest=2.4, recovery=2.5),
        Fault("full", skipped="no disk"),
    ]
    soak = Soak([*results, Result("gradient", 101, 1, 200)], samples, 101, faults)
    page = markdown({"minutes": 1}, soak, "soak.png")
    rows = [line.split(" | ") for line in page.splitlines()]
    cells = [[cell.strip("| ") for cell in row] for row in rows]
    assert "104 requests, 1 per second: 1 wrong, 101 right, 1 lost (OSError), 1 lost (503)" in page
    assert "100 MB at the start, 120 MB at the end, maximum 120 MB" in page
    assert ["worker killed", "3 right", "2.4", "2.5", "0"] in cells
    assert ["full", "skipped: no disk", "", "", ""] in cells
    plot(soak, tmp_path / "soak.png")
    assert Image.open(tmp_path / "soak.png").width > 500


def test_recovery_is_the_first_right_answer_to_a_request_after_the_last_loss() -> None:
    answered = [Result("gradient", 9.5, 4, 200), Result("hostile", 12.5, 0.1, 400), Result("gradient", 13, 0.5, 200)]
    lost = [Result("gradient", 9.9, 30, None, "TimeoutError", lost=True), Result("xrai", 12, 0, 507, "", lost=True)]
    late = [Result("gradient", 20, 0.5, 200, "another map")]
    fault = measurements.measure_fault("killed", 10, [*answered, *lost, *late])
    assert fault.recovery == 3.5
    assert fault.slowest == 4
    assert fault.got == {"right": 3, "lost (TimeoutError)": 1, "lost (507)": 1}
    assert fault.wrong == 1
    assert measurements.measure_fault("killed", 10, lost).recovery is None
