"""The embedded apple-leaf model: its archive, made where it is missing or older than what it is made from."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LEAVES = ROOT / "scripts" / "leaves"
NAME = "leaves"
SOURCES = (
    *(ROOT / "handlers", ROOT / "scripts" / "archiving", ROOT / "scripts" / "archive.py"),
    *(LEAVES / "network.py", LEAVES / "leaves.pt", LEAVES / "labels.txt"),
)


def archive_leaves(store: Path, quiet: bool = False) -> Path:
    """Return the archive `leaves.mar` in a model store, written anew if it is out of date; it may be without a word."""
    archive = store / f"{NAME}.mar"
    if not is_current(archive):
        store.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [sys.executable, ROOT / "scripts" / "archive.py", *flags(store)],
            check=True,
            stdout=subprocess.DEVNULL if quiet else None,
        )
    return archive


def flags(store: Path) -> list[str]:
    """Return the arguments of scripts/archive.py for this model."""
    said = {
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
    return [*(text for name, value in said.items() for text in (f"--{name}", str(value))), "--force"]


def is_current(archive: Path) -> bool:
    """Return whether the archive is there and younger than all its sources."""
    return archive.exists() and archive.stat().st_mtime > max(path.stat().st_mtime for path in _files())


def _files() -> Iterator[Path]:
    for source in SOURCES:
        yield from source.rglob("*.py") if source.is_dir() else (source,)
