"""The files that the commands need next to their code: the repository's own in a clone, copies of them in a wheel."""

from __future__ import annotations

import sys
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_CLONE = _PACKAGE.parents[1]
IS_CLONE = (_CLONE / "handlers" / "saliency_handler.py").is_file() and (_CLONE / "config.properties").is_file()
_SHARED = _CLONE if IS_CLONE else _PACKAGE / "share"

CONFIG = _SHARED / "config.properties"
METRICS = _SHARED / "deploy" / "metrics.yaml"


def work_folder() -> Path:
    """Return the folder of `model_store/` and `demo/`: the repository if this is a clone, else the current folder."""
    return _CLONE if IS_CLONE else Path.cwd()


def engine_folder() -> Path:
    """Return the folder that holds `saliency_handler.py` and `torchserve_saliency/`, the code of every archive."""
    import torchserve_saliency

    return Path(torchserve_saliency.__file__).parent.parent


def command(name: str) -> list[str]:
    """Return the arguments that run a command, such as `archive`, in a process of its own."""
    if IS_CLONE:
        return [sys.executable, str(_CLONE / "scripts" / f"{name}.py")]
    return [sys.executable, "-m", _PACKAGE.name, name]


def cli_folder() -> Path:
    """Return the folder that this package is imported from."""
    return _PACKAGE.parent
