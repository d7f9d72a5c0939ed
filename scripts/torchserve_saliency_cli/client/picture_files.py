"""The pictures that a command line names: files, and folders with all their subfolders."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

SUFFIXES = frozenset(
    {".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
)
_WRITTEN = re.compile(r".*\.saliency(-\d+)?")


@dataclass(frozen=True)
class PictureFile:
    """A picture, and its place below the folder that was named: the subfolders that it is in, outermost first."""

    path: Path
    folders: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Return the place of the picture's map below the folder of maps, without a suffix."""
        return "/".join([*self.folders, f"{self.path.stem}.saliency"])


def picture_files(paths: Sequence[Path]) -> list[PictureFile]:
    """Return the pictures, in the order of the paths; those of a folder are sorted.

    Hidden files and maps that this command has written are left out of a folder. Raise ValueError for a folder without
    a picture.
    """
    found: list[PictureFile] = []
    for path in paths:
        files = sorted(_walk(path), key=lambda file: file.path) if path.is_dir() else [PictureFile(path)]
        if not files:
            kinds = ", ".join(sorted(suffix[1:] for suffix in SUFFIXES))
            raise ValueError(f"there are no pictures in the folder {path} or its subfolders (of the kinds {kinds})")
        found += files
    return found


def _walk(top: Path) -> Iterator[PictureFile]:
    """Yield the pictures in a folder and its subfolders; a folder that is linked twice is walked once."""
    seen = {top.resolve()}
    for place, names, files in os.walk(top, followlinks=True):
        folder = Path(place)
        fresh = [
            name for name in names if not name.startswith((".", "__MACOSX")) and (folder / name).resolve() not in seen
        ]
        seen.update((folder / name).resolve() for name in fresh)
        names[:] = fresh
        for file in files:
            path = folder / file
            is_picture = path.suffix.lower() in SUFFIXES and not file.startswith(".")
            if is_picture and not _WRITTEN.fullmatch(path.stem):
                yield PictureFile(path, folder.relative_to(top).parts)
