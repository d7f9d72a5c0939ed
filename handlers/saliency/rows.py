"""What a method asks of the network, and what it is told."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Protocol

from torch import Tensor

from saliency.objective import Objective, Pairs
from saliency.rules import Rule

Tapped = Mapping[str, Tensor]
_NOTHING: Tapped = MappingProxyType({})


class Mode(Protocol):
    """Another way to run the network, by itself in a batch: a frozen value, rows of equal modes share their batches.

    `grain` rows that belong together are never parted. `around` is entered for a batch of that many rows, and may
    give tensors that the pass puts out beside the logits, a row of theirs for each row of the batch; where `taps` is
    true, their gradients are wanted in place of the input's.
    """

    @property
    def grain(self) -> int: ...

    @property
    def taps(self) -> bool: ...

    def around(self, rows: int) -> AbstractContextManager[Tapped]: ...


@dataclass(frozen=True)
class Silence:
    """A layer of which row i puts out zeros in its channel number `channels[i]`, an int64 tensor [n] on the CPU."""

    layer: str
    channels: Tensor


@dataclass(frozen=True)
class Rows:
    """What is to be evaluated: `inputs` [n, C, H, W], each for the same objective.

    Without `gradient` (or without an objective) the rows take the path without autograd. `layers` asks for the
    activations of these layers, and for their gradients in place of the input's. `rule` is the backward rule of the
    rectifiers, `mode` another way to run the network, `silence` a channel of a layer that each row goes without.
    `units` names a layer whose channels' means over their grid stand in the place of the logits.
    """

    inputs: Tensor
    objective: Objective | None = None
    gradient: bool = True
    rule: Rule = Rule.PLAIN
    layers: tuple[str, ...] = ()
    mode: Mode | None = None
    silence: Silence | None = None
    units: str | None = None

    @property
    def differentiated(self) -> bool:
        return self.gradient and self.objective is not None

    @property
    def plain(self) -> bool:
        """Tell whether nothing but the network's own output and gradient is asked for."""
        asked = self.layers or self.mode or self.silence or self.units
        return not asked and self.rule is Rule.PLAIN

    @property
    def to_input(self) -> bool:
        """Tell whether the gradient that is wanted is the input's."""
        return not self.layers and not (self.mode and self.mode.taps)

    @property
    def grain(self) -> int:
        """Return how many rows are never parted."""
        return self.mode.grain if self.mode else 1

    def part(self, start: int, stop: int | None = None) -> Rows:
        """Return some of these rows."""
        rows = slice(start, stop)
        silence = replace(self.silence, channels=self.silence.channels[rows]) if self.silence else None
        return replace(self, inputs=self.inputs[rows], silence=silence)


@dataclass(frozen=True)
class Answer:
    """What came of rows: logits [n, K]; per row the classes settled on; scores [T, n] in float64.

    `gradient` is [T, n, C, H, W] with respect to the input. Of each layer asked for, `activations` holds the grid
    [n, C, h, w] and `gradients` [T, n, C, h, w]; of what a mode taps, the tensors [n, …] and [T, n, …] as they are.
    Logits and scores are on the CPU, the others on the network's device.
    """

    logits: Tensor
    pairs: tuple[Pairs, ...]
    scores: Tensor
    gradient: Tensor | None = None
    activations: Tapped = field(default_factory=lambda: _NOTHING)
    gradients: Tapped = field(default_factory=lambda: _NOTHING)

    @property
    def grad(self) -> Tensor:
        """The input's gradient, of rows that asked for one."""
        assert self.gradient is not None
        return self.gradient
