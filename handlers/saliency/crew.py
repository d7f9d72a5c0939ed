"""The cores that a worker may count on, and the threads that decode and encode a batch's requests on them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")
# a container's limit: quota and period in one file (cgroup v2), or in two (v1)
_QUOTAS = (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"))


class Crew:
    """A few threads for what releases the interpreter's lock: decoding pictures, packing PNG files."""

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, "saliency") if threads > 1 else None

    def each(self, function: Callable[[A], B], items: Sequence[A]) -> list[B]:
        """Return `function` of each item, in their order; of a single one, without a thread."""
        if self._pool is None or len(items) < 2:
            return [function(item) for item in items]
        return list(self._pool.map(function, items))


def share_of_cores(workers: int) -> int:
    """Return how many cores each of `workers` processes may count on, at least one."""
    return max(1, available_cores() // max(1, workers))


def available_cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the cores that this process may use: those it is let run on, and no more than its container's quota."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([allowed, *(quota for names in _QUOTAS if (quota := _quota(cgroup, names)))]))


def _quota(cgroup: Path, names: Sequence[str]) -> int | None:
    """Return a container's limit in whole cores, at least one; None where there is none."""
    try:
        quota, period = (int(word) for name in names for word in (cgroup / name).read_text().split())
    except (OSError, ValueError):  # no such file, or "max"
        return None
    return max(1, quota // period) if quota > 0 and period > 0 else None
