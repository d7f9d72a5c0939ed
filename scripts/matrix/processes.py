"""Each network in a process of its own, with a time limit: none can take the others down, or leave memory behind."""

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

from scripts.matrix.results import Result, failed

Trial = Callable[[str], Result]


@dataclass(frozen=True)
class _Running:
    """A network under way."""

    network: str
    process: BaseProcess
    answer: Connection
    folder: Path
    began: float


def run_all(networks: Sequence[str], trial: Trial, jobs: int, limit: float) -> Iterator[Result]:
    """Yield the result of each network as it ends, `jobs` at a time, each stopped after `limit` seconds."""
    waiting, running = list(networks), list[_Running]()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append(_begun(waiting.pop(0), trial))
            ends = [each.began + limit - time.monotonic() for each in running]
            wait([each.answer for each in running], timeout=max(0.0, min(ends)))
            for each in list(running):
                if each.answer.poll() or time.monotonic() - each.began > limit:
                    running.remove(each)
                    yield _ended(each, limit)
    finally:
        for each in running:
            _stop(each)


def _begun(network: str, trial: Trial) -> _Running:
    """Return a network under way in a fork of this process, which has imported what it needs and computed nothing."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    folder = Path(tempfile.mkdtemp(prefix="zoo-"))
    process = context.Process(target=_report, args=(network, trial, theirs, folder))
    process.start()
    theirs.close()
    return _Running(network, process, ours, folder, time.monotonic())


def _report(network: str, trial: Trial, answer: Connection, folder: Path) -> None:
    """Send what a trial returns; the process leads a group, which ends with it, and has `folder` for what it writes."""
    os.setpgrp()
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    answer.send(trial(network))


def _ended(each: _Running, limit: float) -> Result:
    """Return what a network's process has sent, or what became of it; it is gone afterwards."""
    seconds = time.monotonic() - each.began
    try:
        if not each.answer.poll():
            return failed(each.network, f"not done after {limit:.0f} s", seconds)
        result: Result = each.answer.recv()
        return result
    except EOFError:
        each.process.join()
        return failed(each.network, f"its process ended with {each.process.exitcode}", seconds)
    finally:
        _stop(each)


def _stop(each: _Running) -> None:
    """End a network's process and those that it started; nothing is left of what they wrote."""
    if each.process.is_alive() and each.process.pid:
        try:
            os.killpg(each.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            each.process.kill()
    each.process.join()
    each.answer.close()
    shutil.rmtree(each.folder, ignore_errors=True)
