"""The names of the commands, as they were called: `torchserve-saliency archive`, or `archive.py` in a clone."""

from __future__ import annotations

import sys
from pathlib import Path

COMMAND = "torchserve-saliency"


def program(name: str) -> str:
    """Return the name of the running command `name` for its messages and its help."""
    full = f"{COMMAND} {name}"
    return full if sys.argv[0] == full else f"{name}.py"


def calling(name: str) -> str:
    """Return the shell words that call another command in the same way as the running one."""
    in_clone = Path(sys.argv[0]).suffix == ".py"
    return f".venv/bin/python scripts/{name}.py" if in_clone else f"{COMMAND} {name}"
