"""The thread pool of a worker, and its share of the CPU cores."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from torchserve_saliency.engine.worker import WorkerThreads, available_cores, share_of_cores


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_results_are_in_the_order_of_the_items(threads: int) -> None:
    assert WorkerThreads(threads).each(lambda n: n * n, range(20)) == [n * n for n in range(20)]
    assert WorkerThreads(threads).each(str, []) == []


def test_several_items_are_processed_in_parallel() -> None:
    barrier = threading.Barrier(2, timeout=10)
    assert WorkerThreads(2).each(lambda _: barrier.wait() >= 0, range(2)) == [True, True]


def test_a_single_item_is_processed_in_the_calling_thread() -> None:
    assert WorkerThreads(4).each(lambda _: threading.current_thread(), [0]) == [threading.current_thread()]


def test_an_exception_is_raised_in_the_calling_thread() -> None:
    with pytest.raises(ZeroDivisionError):
        WorkerThreads(2).each(lambda n: 1 // n, [1, 0])


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "100000 100000"}, 1),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({"cpu.max": "100000000 100000"}, None),
        ({"cpu.max": "nonsense"}, None),
        ({}, None),
    ],
)
def test_a_containers_quota_is_respected(tmp_path: Path, files: dict[str, str], cores: int | None) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert available_cores(tmp_path) == (cores or len(os.sched_getaffinity(0)))


def test_workers_share_the_cores_and_each_has_at_least_one() -> None:
    assert share_of_cores(1) == available_cores()
    assert share_of_cores(10_000) == share_of_cores(available_cores()) == 1
