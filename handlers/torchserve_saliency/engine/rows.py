"""The interface between methods and the engine: `Rows` of the network's input, and the `Answer` for them."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Generic, Protocol, TypeVar, cast

import torch
from torch import Tensor

from torchserve_saliency.engine.objective import Objective, Pairs
from torchserve_saliency.propagation.relu_rules import Rule

T = TypeVar("T")
_EMPTY: Mapping[str, Tensor] = MappingProxyType({})


class Mode(Protocol):
    """Another way to run the network: a frozen value with a context manager for the forward pass.

    Rows share a batch only if their modes are equal, and a batch never splits a group of `group_size` rows. `around`
    receives the number of rows in the batch and may yield further outputs of the pass by name, one row per input row.
    If `captures` is true, gradients are taken with respect to these outputs instead of the input.
    """

    @property
    def group_size(self) -> int: ...

    @property
    def captures(self) -> bool: ...

    def around(self, rows: int) -> AbstractContextManager[Mapping[str, Tensor]]: ...


@dataclass(frozen=True)
class ChannelMask:
    """One output channel of a layer per row, `channels` int64 [n] on the CPU, that is set to zero."""

    layer: str
    channels: Tensor


@dataclass(frozen=True)
class Rows:
    """Inputs to evaluate, `inputs` [n, C, H, W], all for the same objective.

    If `gradient` is false or there is no objective, the rows run without autograd. If `layers` are named, their
    activations are returned, and gradients are taken with respect to them instead of the input. `rule` is the
    backward rule of the ReLUs, `mode` another way to run the network, `channel_mask` one channel per row to set to
    zero. If `units` names a layer, the means of its channels over their grid replace the logits.
    """

    inputs: Tensor
    objective: Objective | None = None
    gradient: bool = True
    rule: Rule = Rule.PLAIN
    layers: tuple[str, ...] = ()
    mode: Mode | None = None
    channel_mask: ChannelMask | None = None
    units: str | None = None

    @property
    def differentiated(self) -> bool:
        """Return whether a backward pass is needed."""
        return self.gradient and self.objective is not None

    @property
    def plain(self) -> bool:
        """Return whether the network runs without hook, mode and rule."""
        special = self.layers or self.mode or self.channel_mask or self.units
        return not special and self.rule is Rule.PLAIN

    @property
    def to_input(self) -> bool:
        """Return whether gradients are taken with respect to the input."""
        return not self.layers and not (self.mode and self.mode.captures)

    @property
    def group_size(self) -> int:
        """Return the number of consecutive rows that must stay in one batch."""
        return self.mode.group_size if self.mode else 1

    def part(self, start: int, stop: int | None = None) -> Rows:
        """Return the rows from `start` to `stop`."""
        rows = slice(start, stop)
        mask = replace(self.channel_mask, channels=self.channel_mask.channels[rows]) if self.channel_mask else None
        return replace(self, inputs=self.inputs[rows], channel_mask=mask)


@dataclass(frozen=True)
class Answer:
    """The results for `Rows`: logits [n, K], the classes of each row, and scores [T, n] in float64.

    `gradient` [T, n, C, H, W] is with respect to the input. For each requested layer, `activations` has its grid
    [n, C, h, w] and `gradients` [T, n, C, h, w]; for each output of a mode, its tensor [n, …] and [T, n, …].
    Logits and scores are on the CPU, the other tensors on the network's device.
    """

    logits: Tensor
    pairs: tuple[Pairs, ...]
    scores: Tensor
    gradient: Tensor | None = None
    activations: Mapping[str, Tensor] = field(default_factory=lambda: _EMPTY)
    gradients: Mapping[str, Tensor] = field(default_factory=lambda: _EMPTY)

    @property
    def grad(self) -> Tensor:
        """Return the gradient with respect to the input; only for rows that requested one."""
        assert self.gradient is not None
        return self.gradient


def joined(answers: Sequence[Answer]) -> Answer:
    """Return the answers for parts of some rows as the answer for all of them."""
    if len(answers) == 1:
        return answers[0]
    first, gradients = answers[0], [a.gradient for a in answers if a.gradient is not None]
    return Answer(
        logits=torch.cat([a.logits for a in answers]),
        pairs=tuple(pair for a in answers for pair in a.pairs),
        scores=torch.cat([a.scores for a in answers], 1),
        gradient=torch.cat(gradients, 1) if gradients else None,
        activations={name: torch.cat([a.activations[name] for a in answers]) for name in first.activations},
        gradients={name: torch.cat([a.gradients[name] for a in answers], 1) for name in first.gradients},
    )


@dataclass(frozen=True)
class Returned(Generic[T]):
    """The value that a generator returned."""

    value: T


def advance(steps: Generator[Rows, Answer, T], answer: Answer | None = None) -> Rows | Returned[T]:
    """Send a generator the answer to its last rows (None starts it); return its next rows, or its returned value."""
    try:
        return steps.send(cast(Answer, answer))
    except StopIteration as end:
        return Returned(end.value)


def resume(steps: Generator[Rows, Answer, T], answer: Answer) -> Generator[Rows, Answer, T]:
    """Continue a started generator with the answer to its last rows, as `yield from` does from the beginning."""
    step = advance(steps, answer)
    while isinstance(step, Rows):
        step = advance(steps, (yield step))
    return step.value
