"""Read the name and version of an archive's model, and copy an archive under another version."""

from __future__ import annotations

import json
import zipfile
from itertools import count
from pathlib import Path

MANIFEST = "MAR-INF/MANIFEST.json"


class ArchiveError(Exception):
    """The archive has no readable name and version of a model."""


def name_and_version(archive: Path) -> tuple[str, str]:
    """Return the name and version of an archive's model. Raise ArchiveError if it has none."""
    try:
        with zipfile.ZipFile(archive) as packed:
            model = json.loads(packed.read(MANIFEST))["model"]
        return str(model["modelName"]), str(model["modelVersion"])
    except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        raise ArchiveError(f"{archive}: not an archive with the name and version of a model: {error}") from error


def other_version(archive: Path) -> str:
    """Return a version that differs from the archive's own."""
    own = name_and_version(archive)[1]
    return next(version for number in count(2) if (version := f"{number}.0") != own)


def copy_with_version(archive: Path, version: str) -> Path:
    """Write a copy of an archive with another version to the same folder, and return its path."""
    other = archive.with_name(f"{archive.stem}-{version}.mar")
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(other, "w") as new:
        for item in old.infolist():
            data = old.read(item)
            new.writestr(item, _with_version(data, version) if item.filename == MANIFEST else data)
    return other


def _with_version(manifest: bytes, version: str) -> bytes:
    content = json.loads(manifest)
    content["model"]["modelVersion"] = version
    return json.dumps(content).encode()
