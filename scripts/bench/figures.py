"""What was measured, as values: figures of a network, and the bounds that some of them are held to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from scripts.bench.timing import Spread, Values, spread

Unit = Literal["ratio", "ms", "MB", "bytes", "1/s"]
ANY = "*"


@dataclass(frozen=True)
class Bound:
    """What a median must be: at most, or at least, `limit`."""

    limit: float
    at_least: bool = False

    def reached(self, value: float) -> bool:
        """Tell whether a value keeps the bound, to the last digit."""
        return value >= self.limit if self.at_least else value <= self.limit

    def share(self, value: float) -> float:
        """Return how much of the bound a value uses up: 1 is the bound itself, more misses it."""
        return self.limit / value if self.at_least else value / self.limit

    def shown(self, value: float, digits: int = 3) -> str:
        """Return a value with so many decimals, rounded away from the bound: never to its favour."""
        scale = 10**digits
        rounded = math.floor(value * scale) if self.at_least else math.ceil(value * scale)
        return f"{rounded / scale:,.{digits}f}"

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:,g}"


@dataclass(frozen=True)
class Figure:
    """Something measured on a network: its values, a round each, in `unit`.

    Of a ratio of times, `fastest` is that of the fastest runs: what is left of it where others take the cores. `note`
    says on what terms it was measured, where the section alone does not.
    """

    section: str
    network: str
    name: str
    unit: Unit
    values: Values
    fastest: float | None = None
    note: str = ""

    @property
    def spread(self) -> Spread:
        return spread(self.values)

    @property
    def bound(self) -> Bound | None:
        """Return the bound that the figure is judged by, None where there is none."""
        return BOUNDS.get((self.network, self.name)) or BOUNDS.get((ANY, self.name))


EXPLANATION = "served explanation / bare loop + decoding"
SATURATION = "served / bare loop + decoding, requests a second, batch size 8"
PREDICTION = "served prediction / default handler's prediction"
BACKWARD = "served explanation / served prediction"
DEFAULT = "default handler's explanation / served explanation"
SAME = "default handler's explanation / the same method and steps, served"
TARGETS = "five targets of one picture / five requests of one target, served"
ANSWER = "default answer"
METHOD_BOUNDS = {"gradient": 0.70, "integrated_gradients": 0.80, "smooth_grad": 0.80, "grad_cam": 0.65}


def beside_library(method: str, library: str = "Captum") -> str:
    """Return the name of a method's ratio of times beside a library."""
    return f"{method}: engine / {library}"


def memory_beside_library(method: str, library: str = "Captum") -> str:
    """Return the name of a method's ratio of peak memory beside a library."""
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
        **{
            (network, beside_library(method)): Bound(limit)
            for network in ("resnet50", "mobilenet_v2")
            for method, limit in METHOD_BOUNDS.items()
        },
        **{(ANY, memory_beside_library(method)): Bound(1.0) for method in METHOD_BOUNDS},
    }
)
