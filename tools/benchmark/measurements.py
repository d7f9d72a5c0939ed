"""The figures of a network, and the bounds that some of them must keep."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from tools.benchmark.timing import Quartiles, Values, quartiles

Unit = Literal["ratio", "ms", "MB", "bytes", "1/s"]
ANY = "*"


@dataclass(frozen=True)
class Bound:
    """A bound of a median: at most `limit`, or at least `limit`."""

    limit: float
    at_least: bool = False

    def reached(self, value: float) -> bool:
        """Return whether a value keeps the bound, without any rounding."""
        return value >= self.limit if self.at_least else value <= self.limit

    def share(self, value: float) -> float:
        """Return a value relative to the bound: 1 is the bound itself, and values above 1 miss it."""
        return self.limit / value if self.at_least else value / self.limit

    def format(self, value: float, digits: int = 3) -> str:
        """Return a value with `digits` decimals. Rounding never makes a value look better than it is."""
        scale = 10**digits
        rounded = math.floor(value * scale) if self.at_least else math.ceil(value * scale)
        return f"{rounded / scale:,.{digits}f}"

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:,g}"


@dataclass(frozen=True)
class Figure:
    """A measured quantity of a network, with one value per round, in `unit`.

    `fastest` is the ratio of the fastest runs, which other processes disturb less; it is None if the figure is not a
    ratio of times. `note` describes the measurement if the section's description is not enough.
    """

    section: str
    network: str
    name: str
    unit: Unit
    values: Values
    fastest: float | None = None
    note: str = ""

    @property
    def quartiles(self) -> Quartiles:
        return quartiles(self.values)

    @property
    def bound(self) -> Bound | None:
        """Return the bound of the figure, or None if it has none."""
        return BOUNDS.get((self.network, self.name)) or BOUNDS.get((ANY, self.name))


EXPLANATION = "served explanation / bare loop + decoding"
SATURATION = "served / bare loop + decoding, requests per second, batch size 8"
PREDICTION = "served prediction / default handler's prediction"
BACKWARD = "served explanation / served prediction"
DEFAULT = "default handler's explanation / served explanation"
SAME = "default handler's explanation / the same method and steps, served"
TARGETS = "five targets of one picture / five requests of one target, served"
ANSWER = "default answer"
PAGE = "page, from nothing to its first map"
PAGE_MAP = "page, map after a click / served explanation"
PAGE_FILES = "page, files of a first visit"
METHOD_BOUNDS = {"gradient": 0.70, "integrated_gradients": 0.80, "smooth_grad": 0.80, "grad_cam": 0.65}


def library_ratio(method: str, library: str = "Captum") -> str:
    """Return the name of the ratio of the engine's time to a library's."""
    return f"{method}: engine / {library}"


def memory_ratio(method: str, library: str = "Captum") -> str:
    """Return the name of the ratio of the engine's peak memory to a library's."""
    return f"{method}: peak memory, engine / {library}"


BOUNDS: Mapping[tuple[str, str], Bound] = MappingProxyType(
    {
        ("resnet50", EXPLANATION): Bound(1.08),
        ("squeezenet1_1", EXPLANATION): Bound(1.20),
        ("squeezenet1_1", SATURATION): Bound(0.90, at_least=True),
        (ANY, PREDICTION): Bound(0.95),
        ("resnet50", BACKWARD): Bound(2.4),
        ("resnet50", DEFAULT): Bound(15, at_least=True),
        ("squeezenet1_1", DEFAULT): Bound(11, at_least=True),
        (ANY, SAME): Bound(1.6, at_least=True),
        (ANY, TARGETS): Bound(0.85),
        (ANY, ANSWER): Bound(60_000),
        (ANY, PAGE): Bound(1_000),
        (ANY, PAGE_MAP): Bound(1.3),
        (ANY, PAGE_FILES): Bound(100_000),
        **{
            (network, library_ratio(method)): Bound(limit)
            for network in ("resnet50", "mobilenet_v2")
            for method, limit in METHOD_BOUNDS.items()
        },
        **{(ANY, memory_ratio(method)): Bound(1.0) for method in METHOD_BOUNDS},
    }
)
