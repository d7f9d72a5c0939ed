"""Peak memory of the same work by our engine and by the libraries, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from scripts.bench.networks import ROOT

MODULE = "scripts.bench.peak"


@dataclass(frozen=True)
class Peak:
    """Bytes: what a work took beyond what was held before, and all that was held at that time."""

    taken: int
    total: int


@dataclass(frozen=True)
class Task:
    """A batch of a picture explained with the network that `folder` holds, at most `rows` rows at a time."""

    folder: Path
    picture: Path
    method: str
    rows: int
    batch: int
    device: torch.device


def peak(task: Task, worker: str) -> Peak:
    """Return the peak of a task done by our engine or by a library; RuntimeError where the process failed."""
    words = [task.folder, task.picture, task.method, worker, task.rows, task.batch, task.device]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "handlers")])
    command = [sys.executable, "-m", MODULE, *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise RuntimeError(f"{worker} failed at {task.method}: {said}")
    found = json.loads(done.stdout.splitlines()[-1])
    return Peak(int(found["taken"]), int(found["total"]))
