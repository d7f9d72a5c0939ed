"""The memory that one work takes beyond the loaded network, in a process of its own.

python -m scripts.bench.peak FOLDER PICTURE METHOD WORKER ROWS BATCH DEVICE    (handlers/ on PYTHONPATH)
"""

from __future__ import annotations

import ctypes
import gc
import json
import re
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from saliency.explainer import Explainer
from saliency.model import load_classifier
from saliency.precision import use_whole_float32
from scripts.bench.beside import ENGINE, works

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_bytes(work: Callable[[], Tensor], device: torch.device) -> tuple[int, int]:
    """Return the bytes that `work` takes at most beyond what is held before it, and those held in all at that time.

    Resident memory on a CPU, PyTorch's allocations on a CUDA device.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        return torch.cuda.max_memory_allocated(device) - before, torch.cuda.max_memory_allocated(device)
    _trim()
    before = _resident("VmRSS")
    _reset_peak()
    work()
    return _resident("VmHWM") - before, _resident("VmHWM")


def _trim() -> None:
    """Give back what was freed, so that it is not reused unseen."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _reset_peak() -> None:
    """Let the peak begin anew where Linux allows it; elsewhere it is the process's since its start."""
    if RESET.exists():
        RESET.write_text("5")


def _resident(name: str) -> int:
    """Return a figure of the process's memory in bytes; where /proc has none, the peak since the start."""
    found = re.search(rf"{name}:\s+(\d+) kB", STATUS.read_text()) if STATUS.exists() else None
    return 1024 * (int(found[1]) if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def main(words: list[str]) -> None:
    """Print as JSON what a work takes, after one pass of a single picture."""
    use_whole_float32()
    folder, picture, method, worker, rows, batch, device = words
    engines = worker == ENGINE
    explainer = Explainer(load_classifier(Path(folder), torch.device(device), fold=engines, channels_last=engines))
    network, data = explainer.classifier.network, Path(picture).read_bytes()
    small, full = (works(explainer, network, int(rows), data, method, size)[worker] for size in (1, int(batch)))
    small()
    taken, total = peak_bytes(full, torch.device(device))
    print(json.dumps({"taken": taken, "total": total}))


if __name__ == "__main__":
    main(sys.argv[1:])
