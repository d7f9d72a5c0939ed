"""The name and the version that an archive gives its model, and the same archive under another version."""

from __future__ import annotations

import json
import zipfile
from itertools import count
from pathlib import Path

MANIFEST = "MAR-INF/MANIFEST.json"


class ArchiveError(Exception):
    """An archive that does not say what its model is called."""


def named(archive: Path) -> tuple[str, str]:
    """Return the name and the version of an archive's model; ArchiveError where it has none."""
    try:
        with zipfile.ZipFile(archive) as packed:
            model = json.loads(packed.read(MANIFEST))["model"]
        return str(model["modelName"]), str(model["modelVersion"])
    except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        raise ArchiveError(f"{archive}: no archive with a model's name and version: {error}") from error


def other_version(archive: Path) -> str:
    """Return a version that is not the archive's own."""
    own = named(archive)[1]
    return next(version for number in count(2) if (version := f"{number}.0") != own)


def versioned(archive: Path, version: str) -> Path:
    """Write an archive's model under another version beside it, and return where."""
    other = archive.with_name(f"{archive.stem}-{version}.mar")
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(other, "w") as new:
        for item in old.infolist():
            data = old.read(item)
            new.writestr(item, _renamed(data, version) if item.filename == MANIFEST else data)
    return other


def _renamed(manifest: bytes, version: str) -> bytes:
    said = json.loads(manifest)
    said["model"]["modelVersion"] = version
    return json.dumps(said).encode()
