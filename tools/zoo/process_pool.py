"""Run each network in a process of its own with a time limit. A crash or a memory leak does not affect the others."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from tools.zoo.results import Result, failed

Trial = Callable[[str], Result]


@dataclass(frozen=True)
class _Running:
    """A running trial."""

    network: str
    process: BaseProcess
    answer: Connection
    folder: Path
    began: float


def run_all(networks: Sequence[str], trial: Trial, jobs: int, limit: float) -> Iterator[Result]:
    """Yield the results as they arrive. `jobs` trials run at a time; each is stopped after `limit` seconds."""
    waiting, running = list(networks), list[_Running]()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append(_start(waiting.pop(0), trial))
            ends = [each.began + limit - time.monotonic() for each in running]
            wait([each.answer for each in running], timeout=max(0.0, min(ends)))
            for each in list(running):
                if each.answer.poll() or time.monotonic() - each.began > limit:
                    running.remove(each)
                    yield _finish(each, limit)
    finally:
        for each in running:
            _stop(each)


def _start(network: str, trial: Trial) -> _Running:
    """Start a trial in a fork of this process, which has imported the modules but not computed anything."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    folder = Path(tempfile.mkdtemp(prefix="zoo-"))
    process = context.Process(target=_report, args=(network, trial, theirs, folder))
    process.start()
    theirs.close()
    return _Running(network, process, ours, folder, time.monotonic())


def _report(network: str, trial: Trial, answer: Connection, folder: Path) -> None:
    """Run a trial and send its result. The process leads a process group and uses `folder` for temporary files."""
    os.setpgrp()
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    answer.send(trial(network))


def _finish(each: _Running, limit: float) -> Result:
    """Return the result of a trial, or a failed one if its process crashed or ran too long. End the process."""
    seconds = time.monotonic() - each.began
    try:
        if not each.answer.poll():
            return failed(each.network, f"not finished after {limit:.0f} s", seconds)
        result: Result = each.answer.recv()
        return result
    except EOFError:
        each.process.join()
        return failed(each.network, f"its process ended with exit code {each.process.exitcode}", seconds)
    finally:
        _stop(each)


def _stop(each: _Running) -> None:
    """End the process group of a trial and delete its temporary files."""
    if each.process.is_alive() and each.process.pid:
        try:
            os.killpg(each.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            each.process.kill()
    each.process.join()
    each.answer.close()
    shutil.rmtree(each.folder, ignore_errors=True)
