"""The user's own files on the command line: the network, what it imports, the handler, the list of packages."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Sequence
from pathlib import Path

from torchserve_saliency.model.archive import HEADS_FILE, LABELS_FILE, OWN_FILES
from torchserve_saliency_cli.archiving.arguments import UsageError
from torchserve_saliency_cli.archiving.pictures import SUFFIXES, pictures_below

# modules that the archive's worker and its self-check import, which a file of that name would hide
_IMPORTED = frozenset(
    {
        *("torch", "torchvision", "timm", "numpy", "scipy", "skimage", "PIL", "matplotlib", "yaml", "ts", "captum"),
        *("torchserve_saliency", "torchserve_saliency_cli", "saliency_handler"),
    }
)
# files that every archive has
_TAKEN = frozenset(
    {
        *(LABELS_FILE, HEADS_FILE, "model-config.yaml", "self_check.json", "MAR-INF", "saliency_handler.py"),
        OWN_FILES,
    }
)


def model_file(path: Path | None) -> Path | None:
    """Return the user's file; raise UsageError for a missing file or a name that would hide another module."""
    return _python_file(path)


def handler_file(path: Path | None) -> Path | None:
    """Return the user's handler; raise UsageError for a missing file or a name that would hide another module."""
    return _python_file(path)


def extra_files(paths: Sequence[Path], others: Sequence[Path | None], with_handler: bool) -> tuple[Path, ...]:
    """Return the files and folders to add to the archive.

    Raise UsageError for a missing one, and for names that hide a module, or that `others` or two of them have. A
    handler imports them from the folder of the archive, so they must not hide an installed package either.
    """
    used = {path.name for path in others if path} | _TAKEN
    for path in paths:
        if not path.exists():
            raise UsageError(f"--extra-files: there is no file or folder '{path}' (separate several by commas)")
        name = path.resolve().name
        if path.is_dir() or path.suffix == ".py":
            _check_hidden(path.resolve())
            if with_handler and hides_installed(path.resolve()):
                raise UsageError(f"--extra-files: '{name}' would hide the package of that name from the --handler")
        if name in used:
            raise UsageError(f"--extra-files: the archive already has a file '{name}'; give '{path}' another name")
        used.add(name)
    return tuple(path.resolve() for path in paths)


def hides_installed(path: Path) -> bool:
    """Tell if a module or package has the name of an installed one, which it would hide on the worker's path."""
    return (path.is_dir() or path.suffix == ".py") and path.stem in importlib.metadata.packages_distributions()


def place_in_archive(path: Path) -> str:
    """Return the path of an extra file in the archive."""
    return f"{OWN_FILES}/{path.name}" if hides_installed(path) else path.name


def requirements_file(path: Path | None) -> Path | None:
    """Return the list of packages; raise UsageError if it is missing."""
    if path is not None and not path.is_file():
        raise UsageError(f"--requirements-file: there is no file '{path}'")
    return path and path.resolve()


def check_folder(folder: Path | None, least: float | None) -> Path | None:
    """Return the folder of test pictures; raise UsageError unless subfolders of it have pictures."""
    if folder is None:
        if least is not None:
            raise UsageError("--min-accuracy needs the pictures to measure it on: --check-folder FOLDER")
        return None
    if not folder.is_dir() or not any(each.is_dir() and pictures_below(each) for each in folder.iterdir()):
        kinds = ", ".join(sorted(SUFFIXES))
        raise UsageError(
            f"--check-folder: '{folder}' has no subfolders with pictures ({kinds}); their names are the classes"
        )
    return folder.resolve()


def _python_file(path: Path | None) -> Path | None:
    if path is None:
        return None
    if not path.is_file() or path.suffix != ".py":
        raise UsageError(f"there is no Python file '{path}'")
    _check_hidden(path)
    if hides_installed(path):
        raise UsageError(f"a file named '{path.name}' would hide the package '{path.stem}': give it another name")
    return path


def _check_hidden(path: Path) -> None:
    """Raise UsageError if a file or folder in the archive would hide a module of that name."""
    if path.stem in _IMPORTED or path.stem in sys.stdlib_module_names:
        raise UsageError(f"a file named '{path.name}' would hide the module '{path.stem}': give it another name")
