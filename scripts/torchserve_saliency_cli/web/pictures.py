"""The pictures that a browser can ask about: those it has sent, by their digest, and sample pictures, by their name."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torchserve_saliency.errors import RequestError
from torchserve_saliency_cli.client.picture_files import PictureFile, picture_files

SAMPLE, SENT = "sample:", "sha256:"
MOST_BYTES = 64 << 20  # of one picture
KEPT_BYTES = 256 << 20  # of all pictures that were sent


@dataclass(frozen=True)
class Sample:
    """A sample picture: its name, which is its path below the folder, its file, and the folders that it is in."""

    name: str
    path: Path
    folders: tuple[str, ...]


class Pictures:
    """Pictures by their identifiers, `sample:NAME` or `sha256:DIGEST`.

    Pictures that were sent are kept in memory only, the latest ones up to KEPT_BYTES.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.samples: Mapping[str, Sample] = {}
        self._sent: OrderedDict[str, bytes] = OrderedDict()
        self.refresh()

    def refresh(self) -> None:
        """Read the folder of samples again; raise ValueError if it holds no picture."""
        if self.folder is not None:
            samples = [_sample(file, self.folder) for file in picture_files([self.folder])]
            self.samples = {sample.name: sample for sample in samples}

    def add(self, data: bytes) -> str:
        """Keep a picture, and return its identifier; raise RequestError 400 or 413 for no data or too much."""
        if not data:
            raise RequestError(400, "NoPictureException", "the file is empty", "data")
        check_length(len(data))
        identifier = SENT + hashlib.sha256(data).hexdigest()
        self._sent[identifier] = data
        self._sent.move_to_end(identifier)
        while sum(map(len, list(self._sent.values()))) > KEPT_BYTES:  # a copy: threads move entries
            self._sent.popitem(last=False)
        return identifier

    def read(self, identifier: str) -> tuple[str, bytes]:
        """Return a picture's file name and its bytes; raise RequestError 404 if there is none."""
        sample = self.samples.get(identifier.removeprefix(SAMPLE)) if identifier.startswith(SAMPLE) else None
        try:
            if sample is not None:
                return sample.path.name, sample.path.read_bytes()
            self._sent.move_to_end(identifier)
            return "picture", self._sent[identifier]
        except (KeyError, OSError):
            message = f"the picture {identifier[:100]!r} is not here"
            raise RequestError(404, "PictureNotFoundException", message, "data") from None


def check_length(length: int) -> None:
    """Raise RequestError 413 for a picture of more than MOST_BYTES."""
    if length > MOST_BYTES:
        size = f"more than {MOST_BYTES >> 20} MB, the most that this page takes"
        raise RequestError(413, "PictureTooLargeException", f"the file has {size}", "data")


def _sample(file: PictureFile, folder: Path) -> Sample:
    return Sample(file.path.relative_to(folder).as_posix(), file.path, file.folders)
