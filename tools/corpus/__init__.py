"""The corpus of hostile requests. It is the same in every run; each entry lists the statuses that are allowed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tools.corpus import broken_pictures, pictures
from tools.corpus.bodies import bodies
from tools.corpus.entry import Entry
from tools.corpus.headers import forged
from tools.corpus.options import misplaced, wrong_values
from torchserve_saliency.images.image_formats import image_formats

GOOD = frozenset({200})
DAMAGED = frozenset({200, 413, 415})  # Pillow can still decode some damaged pictures
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
    """Yield the name, the content and the allowed statuses of each file that is sent as a picture."""
    whole: Mapping[str, bytes] = pictures.modes() | pictures.shapes() | pictures.animated() | pictures.annotated()
    for name, data in whole.items():
        yield name, data, GOOD
    for name, data in pictures.formats().items():
        yield name, data, GOOD if name in image_formats() else frozenset({415})
    for name, data in (*broken_pictures.truncated(pictures.formats()), *broken_pictures.flipped(pictures.formats())):
        yield name, data, DAMAGED
    for name, data in broken_pictures.bombs():
        yield name, data, TOO_LARGE
    for name, data in broken_pictures.polyglots():
        yield name, data, DAMAGED


def by_name() -> Mapping[str, Entry]:
    """Return the corpus as a mapping from name to entry. Raise ValueError if two entries share a name."""
    corpus: dict[str, Entry] = {}
    for entry in entries():
        if entry.name in corpus:
            raise ValueError(f"two entries have the name {entry.name!r}")
        corpus[entry.name] = entry
    return corpus
