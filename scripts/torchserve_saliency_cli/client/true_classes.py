"""The true class of a picture, as the folder that it is in names it."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from PIL import Image

from torchserve_saliency_cli.client.errors import RefusedError

# values of `target` that are no labels
SPECIAL = re.compile(r"predicted|top\d+|(above|>=?|≥)[ _:=]*[0-9.eE+-]+ *%?", re.IGNORECASE)
Lookup = Callable[[bytes, str], tuple[int, str]]


@dataclass(frozen=True)
class TrueClass:
    """The class that a folder names: its index and label in the model; the index is None if the model has none such."""

    label: str
    index: int | None = None


@dataclass
class TrueClasses:
    """The classes that folders name. `lookup` asks the server which class is meant by a name, for a picture."""

    lookup: Lookup
    reasons: dict[str, str] = field(default_factory=dict)
    _known: dict[str, TrueClass | None] = field(default_factory=dict)

    def of(self, folders: Sequence[str]) -> TrueClass | None:
        """Return the class named by one of the subfolders that a picture is in, or None if there are none.

        It is the innermost folder that is a class of the model; folders that are numbers are tried last. If none is a
        class, it is the outermost.
        """
        innermost_first = folders[::-1]
        names = sorted(innermost_first, key=str.isdecimal)
        found = (self._find(name) for name in names)
        return next((one for one in found if one), None) or (TrueClass(folders[0]) if folders else None)

    def _find(self, name: str) -> TrueClass | None:
        """Return the class of this name, or None; the answer of the server is kept."""
        if name not in self._known:
            self._known[name] = self._ask(name)
        return self._known[name]

    def _ask(self, name: str) -> TrueClass | None:
        """Return the class of this name; underscores may stand for spaces."""
        if ";" in name or SPECIAL.fullmatch(name.strip()) or name.lstrip().startswith("["):
            return None
        for spelling in dict.fromkeys((name, name.replace("_", " "), name.replace("_", " ").replace("-", " "))):
            try:
                index, label = self.lookup(grey_picture(), spelling)
                return TrueClass(label, index)
            except RefusedError as error:
                if error.option != "target":
                    raise
                self.reasons.setdefault(name, error.message)
        return None


def grey_picture() -> bytes:
    """Return a small grey picture: the class of a name does not depend on it."""
    file = io.BytesIO()
    Image.new("RGB", (32, 32), "grey").save(file, "PNG")
    return file.getvalue()
