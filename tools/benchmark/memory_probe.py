"""Print the peak memory of one task, apart from the loaded network. It runs in a process of its own.

python -m tools.benchmark.memory_probe FOLDER PICTURE METHOD WORKER ROWS BATCH DEVICE
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

from tools.benchmark.comparison import ENGINE, work_by_library
from torchserve_saliency.engine.worker import use_whole_float32
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.model.classifier import load_classifier

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_bytes(work: Callable[[], Tensor], device: torch.device) -> tuple[int, int]:
    """Return the increase of memory during `work` and the total at the peak, in bytes.

    On a CPU this is resident memory, on a CUDA device the memory that PyTorch has allocated.
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
    """Return freed memory to the system, because its reuse would not be measured."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _reset_peak() -> None:
    """Reset the peak if the system allows it; if not, it is the peak since the process started."""
    if RESET.exists():
        RESET.write_text("5")


def _resident(name: str) -> int:
    """Return a value of /proc/self/status in bytes, or the peak since the process started if there is no such file."""
    match = re.search(rf"{name}:\s+(\d+) kB", STATUS.read_text()) if STATUS.exists() else None
    return 1024 * (int(match[1]) if match else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def main(arguments: list[str]) -> None:
    """Print the peak memory as JSON. A single picture is explained first, so that one-time costs do not count."""
    use_whole_float32()
    folder, picture, method, worker, rows, batch, device = arguments
    optimised = worker == ENGINE
    explainer = Explainer(load_classifier(Path(folder), torch.device(device), fold=optimised, channels_last=optimised))
    network, data = explainer.classifier.network, Path(picture).read_bytes()
    small, full = (
        work_by_library(explainer, network, int(rows), data, method, size)[worker] for size in (1, int(batch))
    )
    small()
    taken, total = peak_bytes(full, torch.device(device))
    print(json.dumps({"taken": taken, "total": total}))


if __name__ == "__main__":
    main(sys.argv[1:])
