"""Resources of a worker process: its share of the CPU cores, its threads, and memory and precision settings."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import torch

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD in glibc's malloc.h
KEPT_BYTES = 256 << 20

A = TypeVar("A")
B = TypeVar("B")
# a container's CPU limit: quota and period in one file (cgroup v2) or in two (v1)
_QUOTAS = (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"))


class WorkerThreads:
    """A thread pool for work that releases the GIL, such as decoding pictures and compressing PNG files."""

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, "saliency") if threads > 1 else None

    def each(self, function: Callable[[A], B], items: Sequence[A]) -> list[B]:
        """Return `function(item)` for each item, in order; a single item is processed in the calling thread."""
        if self._pool is None or len(items) < 2:
            return [function(item) for item in items]
        return list(self._pool.map(function, items))


def share_of_cores(workers: int) -> int:
    """Return the number of cores for each of `workers` processes, at least one."""
    return max(1, available_cores() // max(1, workers))


def available_cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the number of cores of this process, limited by its CPU affinity and by its container's quota."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([allowed, *(quota for names in _QUOTAS if (quota := _quota(cgroup, names)))]))


def _quota(cgroup: Path, names: Sequence[str]) -> int | None:
    """Return a container's CPU limit in whole cores, at least one, or None if it has no limit."""
    try:
        quota, period = (int(word) for name in names for word in (cgroup / name).read_text().split())
    except (OSError, ValueError):  # no such file, or "max"
        return None
    return max(1, quota // period) if quota > 0 and period > 0 else None


def use_whole_float32() -> None:
    """Turn off TensorFloat-32 on GPUs: its 10-bit mantissa would change maps by 1e-3."""
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def keep_freed_memory() -> None:
    """Make glibc keep 256 MiB of freed memory, instead of returning it and requesting new pages for each activation.

    Without it, an explanation after one with many forward passes takes 1.5 times as long. With another C library,
    this function has no effect.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(MMAP_THRESHOLD, 32 << 20)
