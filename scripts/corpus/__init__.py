"""The corpus of hostile requests: the same at every run, each with the statuses that may answer it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from scripts.corpus import damage, pictures
from scripts.corpus.bodies import bodies
from scripts.corpus.entry import Entry
from scripts.corpus.headers import forged
from scripts.corpus.options import misplaced, wrong_values

GOOD = frozenset({200})
SHOWN = frozenset({200, 413, 415})  # what may be said of a picture that is damaged
TOO_LARGE = frozenset({413})


def entries() -> Iterator[Entry]:
    """Yield the whole corpus."""
    for name, data, statuses in files():
        yield Entry(name, {"data": data}, statuses)
    yield from bodies()
    yield from wrong_values()
    yield from misplaced()
    yield from forged()


def files() -> Iterator[tuple[str, bytes, frozenset[int]]]:
    """Yield the files sent as pictures: their names, their bytes and the statuses that they may have."""
    whole: Mapping[str, bytes] = pictures.modes() | pictures.shapes() | pictures.animated() | pictures.annotated()
    for name, data in whole.items():
        yield name, data, GOOD
    for name, data in pictures.formats().items():
        yield name, data, GOOD if name in pictures.ALLOWED else frozenset({415})
    for name, data in (*damage.truncated(pictures.formats()), *damage.flipped(pictures.formats())):
        yield name, data, SHOWN
    for name, data in damage.bombs():
        yield name, data, TOO_LARGE
    for name, data in damage.polyglots():
        yield name, data, SHOWN


def by_name() -> Mapping[str, Entry]:
    """Return the corpus by its names, each of them once; ValueError where two share one."""
    found: dict[str, Entry] = {}
    for entry in entries():
        if entry.name in found:
            raise ValueError(f"two entries are named {entry.name!r}")
        found[entry.name] = entry
    return found
