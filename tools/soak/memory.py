"""Samples of the workers' memory during a soak."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

from tools.soak.faults import worker_pids
from tools.soak.measurements import Sample
from torchserve_saliency_cli.torchserve.server import ServerError, TorchServe

INTERVAL = 1.0  # seconds between two samples


@contextmanager
def sample_memory(server: TorchServe) -> Iterator[list[Sample]]:
    """Yield a list to which samples of the workers' memory are added until the context ends."""
    samples = [_sample(server)]
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(INTERVAL):
            with suppress(psutil.Error, OSError, ServerError, ValueError):
                samples.append(_sample(server))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        ended.set()
        thread.join()


def _sample(server: TorchServe) -> Sample:
    pids = tuple(worker_pids(server))
    return Sample(time.monotonic(), sum(psutil.Process(pid).memory_info().rss for pid in pids), pids)
