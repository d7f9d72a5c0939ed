"""Measure the peak memory of the engine or of a library in a separate process."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from tools import ROOT

PROBE = "tools.benchmark.memory_probe"


@dataclass(frozen=True)
class Peak:
    """Peak memory in bytes: the increase during the work, and the total at the peak."""

    taken: int
    total: int


@dataclass(frozen=True)
class MemoryTask:
    """The task to explain a batch of equal pictures by the network in `folder`, with at most `rows` rows at a time."""

    folder: Path
    picture: Path
    method: str
    rows: int
    batch: int
    device: torch.device


def measure_peak(task: MemoryTask, worker: str) -> Peak:
    """Return the peak memory of a task for the engine or a library. Raise RuntimeError if the process fails."""
    arguments = [task.folder, task.picture, task.method, worker, task.rows, task.batch, task.device]
    command = [sys.executable, "-m", PROBE, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        message = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise RuntimeError(f"{worker} failed at {task.method}: {message}")
    measured = json.loads(done.stdout.splitlines()[-1])
    return Peak(int(measured["taken"]), int(measured["total"]))
