"""The plan of a benchmark, the input of its sections, and the maker of their figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from tools.benchmark.measurements import Figure, Unit
from tools.benchmark.networks import Network
from tools.benchmark.reference_implementations import LIBRARY_METHODS, SINGLE
from tools.benchmark.served import Served
from tools.benchmark.timing import Seconds, Values, ratios
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.model.classifier import Classifier

MS, MEGA = 1e3, 1e6


@dataclass(frozen=True)
class Plan:
    """The parsed command line. If `methods` is None, each network has its own default."""

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
    """A network that is ready to be measured. `folder` holds its unpacked archive; `served` is a server, if needed.

    `bare` is the engine's network in the memory format that is faster for the bare loops.
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
        """Return the methods to compare; by default all, or those of a single pass if the network is heavy."""
        return self.plan.methods or (SINGLE if self.network.heavy else tuple(LIBRARY_METHODS))


@dataclass(frozen=True)
class FigureMaker:
    """Makes the figures of one section for one network."""

    section: str
    network: str

    def figure(self, name: str, unit: Unit, values: Values, fastest: float | None = None) -> Figure:
        return Figure(self.section, self.network, name, unit, values, fastest)

    def times(self, seconds: Seconds) -> Iterator[Figure]:
        """Yield the times of runs in milliseconds."""
        for name, values in seconds.items():
            yield self.figure(name, "ms", tuple(MS * value for value in values))

    def ratios(self, seconds: Seconds, pairs: Mapping[str, tuple[str, str]]) -> Iterator[Figure]:
        """Yield ratios of the times of runs; `pairs` maps a figure's name to numerator and denominator."""
        for name, (numerator, denominator) in pairs.items():
            fastest = min(seconds[numerator]) / min(seconds[denominator])
            yield self.figure(name, "ratio", ratios(seconds, numerator, denominator), fastest)
