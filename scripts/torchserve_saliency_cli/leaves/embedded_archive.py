"""The archive of the embedded apple-leaf model, written if it is missing or older than its sources."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

from torchserve_saliency_cli.files import command, engine_folder

LEAVES = Path(__file__).parent
NAME = "leaves"


def archive_leaves(store: Path, quiet: bool = False) -> Path:
    """Return the archive `leaves.mar` in a model store, after writing it if it is out of date.

    If `quiet` is set, nothing is printed but errors.
    """
    archive = store / f"{NAME}.mar"
    if not is_current(archive):
        store.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [*command("archive"), *flags(store)],
            check=True,
            stdout=subprocess.DEVNULL if quiet else None,
        )
    return archive


def flags(store: Path) -> list[str]:
    """Return the arguments of `archive` for this model."""
    values = {
        "model-name": NAME,
        "model-file": LEAVES / "network.py",
        "serialized-file": LEAVES / "leaves.pt",
        "labels": LEAVES / "labels.txt",
        "input-size": 224,
        "resize": 224,
        "mean": "0.5,0.5,0.5",
        "std": "0.5,0.5,0.5",
        "export-path": store,
    }
    return [*(text for name, value in values.items() for text in (f"--{name}", str(value))), "--force"]


def is_current(archive: Path) -> bool:
    """Tell whether the archive exists and is newer than all its sources."""
    return archive.exists() and archive.stat().st_mtime > max(path.stat().st_mtime for path in _files())


def _files() -> Iterator[Path]:
    code = (
        engine_folder() / "torchserve_saliency",
        engine_folder() / "saliency_handler.py",
        LEAVES.parent / "archiving",
    )
    for source in (*code, LEAVES / "network.py", LEAVES / "leaves.pt", LEAVES / "labels.txt"):
        yield from source.rglob("*.py") if source.is_dir() else (source,)
