"""What is to be measured, and what every section is given of a network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from saliency.explainer import Explainer
from saliency.model import Classifier
from scripts.bench.figures import Figure, Unit
from scripts.bench.networks import Network
from scripts.bench.rivals import RIVALS, SINGLE
from scripts.bench.served import Served
from scripts.bench.timing import Seconds, Values, ratios

MS, MEGA = 1e3, 1e6


@dataclass(frozen=True)
class Plan:
    """The command line, read: `methods` None for those that suit each network."""

    networks: tuple[str, ...]
    sections: tuple[str, ...]
    methods: tuple[str, ...] | None
    batch_sizes: tuple[int, ...]
    rounds: int
    long_rounds: int
    device: torch.device
    picture: Path


@dataclass(frozen=True)
class Bench:
    """A network made ready: our archive unpacked in `folder`, our engine on it, a server where one is wanted.

    `bare` is what bare loops run: the engine's network, in the memory format that is the faster one for them.
    """

    plan: Plan
    name: str
    network: Network
    folder: Path
    explainer: Explainer
    bare: Classifier
    served: Served | None = None

    @property
    def data(self) -> bytes:
        """Return the picture's bytes."""
        return self.plan.picture.read_bytes()

    @property
    def methods(self) -> Iterable[str]:
        """Return the methods to compare; of a heavy network those of one pass, where none were named."""
        return self.plan.methods or (SINGLE if self.network.heavy else tuple(RIVALS))


@dataclass(frozen=True)
class Notes:
    """Makes the figures of a section of a network."""

    section: str
    network: str

    def figure(self, name: str, unit: Unit, values: Values, fastest: float | None = None) -> Figure:
        return Figure(self.section, self.network, name, unit, values, fastest)

    def times(self, seconds: Seconds) -> Iterator[Figure]:
        """Yield runs' times in milliseconds."""
        for name, values in seconds.items():
            yield self.figure(name, "ms", tuple(MS * value for value in values))

    def ratios(self, seconds: Seconds, pairs: Mapping[str, tuple[str, str]]) -> Iterator[Figure]:
        """Yield the named ratios of runs that were measured."""
        for name, (above, below) in pairs.items():
            fastest = min(seconds[above]) / min(seconds[below])
            yield self.figure(name, "ratio", ratios(seconds, above, below), fastest)
