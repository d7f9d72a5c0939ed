"""The part of a checkpoint that is taken for a network."""

from __future__ import annotations

from dataclasses import dataclass

from torchserve_saliency.model.state_names import is_average, is_usual
from torchserve_saliency.model.state_search import State


@dataclass(frozen=True)
class Match:
    """A mapping of tensors in a checkpoint, with the names of a network.

    `key` is its place in the file, empty for the file itself; `prefix` was removed from its names, `added` was put
    before them. `left_over` are the names outside the prefix; those of them that look like layers of a network are
    `foreign`. `others` are the places of other mappings that fit as well, `head` is the module beside the prefix that
    the head was taken from, if it was.
    """

    state: State
    key: str = ""
    prefix: str = ""
    added: str = ""
    left_over: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    head: str = ""

    @property
    def place(self) -> str:
        """Return the words that choose this mapping: its key and its prefix, as far as it has them."""
        return ":".join(part for part in (self.key, self.prefix.rstrip(".")) if part) or "."

    def has_name(self, wanted: str) -> bool:
        """Tell whether the words of --state choose this mapping: its place, its key or its prefix."""
        key, prefix = self.key or ".", self.prefix.rstrip(".") or None
        return (wanted.rstrip(".") or ".") in (self.place, key, key.rpartition(".")[2], prefix)

    @property
    def is_average(self) -> bool:
        """Tell whether the mapping holds an average of the weights over the training."""
        return is_average(self.key) or is_average(self.prefix.rstrip("."))

    @property
    def is_usual(self) -> bool:
        """Tell whether key and prefix are usual names of a network's weights."""
        return is_usual(self.key) and is_usual(self.prefix)
