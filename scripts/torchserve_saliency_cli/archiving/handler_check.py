"""The user's handler: TorchServe must find exactly one class in it, a subclass of SaliencyHandler."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Sequence
from pathlib import Path

from torchserve_saliency.model.private_modules import import_privately
from torchserve_saliency_cli.archiving.arguments import UsageError


def check_handler(path: Path, files: Sequence[Path]) -> None:
    """Raise UsageError unless a Python file has one class of its own, a subclass of SaliencyHandler.

    Raise ModelError if it cannot be imported.
    """
    if _has_relative_import(path):
        raise UsageError(
            f"--handler: '{path.name}' has a relative import, but TorchServe imports it as a module of its own: "
            "write `import blocks` in place of `from . import blocks`"
        )
    module = import_privately(path, files)
    base: type = importlib.import_module("saliency_handler").SaliencyHandler
    classes = [c for _, c in inspect.getmembers(module, inspect.isclass) if c.__module__ == module.__name__]
    if hasattr(module, "handle"):
        raise UsageError(
            f"--handler: '{path.name}' has a name `handle`, which TorchServe would call in place of a class"
        )
    if len(classes) != 1 or not issubclass(classes[0], base):
        found = ", ".join(c.__name__ for c in classes) or "none"
        raise UsageError(
            f"--handler: '{path.name}' must define exactly one class, a subclass of SaliencyHandler (from "
            f"saliency_handler import SaliencyHandler), not {found}; other classes belong into --extra-files"
        )


def _has_relative_import(path: Path) -> bool:
    """Tell whether a Python file has a relative import; a file with a syntax error has none."""
    try:
        tree = ast.parse(path.read_bytes())
    except SyntaxError:
        return False
    return any(isinstance(node, ast.ImportFrom) and node.level for node in ast.walk(tree))
