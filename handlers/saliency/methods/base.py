"""What a method is: a generator that yields rows, is sent their answers, and returns its maps."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from torch import Tensor

from saliency.image import InputSpec
from saliency.objective import Objective
from saliency.rows import Answer, Rows
from saliency.transformers import SelfAttention

CHUNK = 16  # rows that a method with many passes asks for at a time
MOST_PASSES = 500  # of a parameter that counts samples or steps


@dataclass(frozen=True)
class Maps:
    """A method's maps [T, C, H, W] before `reduce` (C = 1 where a map has no channels), and JSON values found.

    `clean` is the answer for an input that the method made, where there is no picture that could be predicted of.
    """

    values: Tensor
    findings: tuple[Mapping[str, Any], ...] = ()
    clean: Answer | None = None


@dataclass(frozen=True)
class Subject:
    """What is explained: the input `x` [1, C, H, W], for which objective, in which terms, by what attention."""

    x: Tensor
    objective: Objective
    spec: InputSpec = field(repr=False)
    attention: SelfAttention = field(default_factory=SelfAttention, repr=False)


Steps = Generator[Rows, Answer, Maps]


class Need(Enum):
    """What a network must have for a method; `saliency.needs` tells whether it has, and why not."""

    HOOKS = "modules that can be listened to"
    RECTIFIERS = "ReLUs"
    LAYER = "a layer with spatial extent"
    ATTENTION = "attention among the patches of the whole picture"


class Shows(Enum):
    """What a method's maps are, and how they are drawn.

    SALIENCY lies on the picture. CHANNELS are those of a layer, on its own grid: the same for every class, drawn as a
    sheet of tiles. An INPUT was made for a class, without a picture: the method is given grey, and named classes.
    """

    SALIENCY = "saliency"
    CHANNELS = "channels"
    INPUT = "input"


@dataclass(frozen=True)
class Cost:
    """Rows that a method evaluates at most: all of them forward, and some of them backward for each target.

    `per_target` are rows forward that each target has besides, where targets share none.
    """

    forwards: int
    backwards: int = 0
    per_target: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.forwards + other.forwards, self.backwards + other.backwards, self.per_target + other.per_target
        )

    def pictures(self, targets: int) -> int:
        """Return the rows forward for so many targets."""
        return self.forwards + self.per_target * targets


def forward_alone(p: object, spec: InputSpec) -> Cost:
    """Return the cost of the clean picture forward."""
    return Cost(1)


def one_pass(p: object, spec: InputSpec) -> Cost:
    """Return the cost of the clean picture forward and backward."""
    return Cost(1, 1)


def as_sent(p: object, spec: InputSpec) -> object:
    """Return parameters that fit every input, as they are."""
    return p


@dataclass(frozen=True)
class Method:
    """An entry of the table of methods.

    `function(subject, parameters)` yields rows, the first of which is always the clean picture alone or in front:
    its logits are the predictions. `parameters` is the schema of its parameters, of which `cost(parameters, input)`
    tells how much a request may spend. `fit(parameters, input)` fills in what depends on the input's size, so that the
    answer tells what was used; what does not fit the input is its 400. `local` says that its maps are gradients, in
    units of score per unit of input; those of the others are shares of the score. `shows` tells what its maps are;
    a method that is `class_blind` has the same map for every class.
    """

    function: Callable[[Subject, Any], Steps]
    parameters: type
    paper: str
    needs: tuple[Need, ...] = ()
    cost: Callable[[Any, InputSpec], Cost] = one_pass
    fit: Callable[[Any, InputSpec], Any] = as_sent
    local: bool = False
    shows: Shows = Shows.SALIENCY
    class_blind: bool = False


def chunks(x: Tensor) -> Iterator[Tensor]:
    """Yield `x` [n, …] a few rows at a time."""
    yield from x.split(CHUNK)
