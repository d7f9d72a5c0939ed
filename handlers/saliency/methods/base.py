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
    """A method's maps [T, C, H, W] before `reduce` (C = 1 where a map has no channels), and scalars found."""

    values: Tensor
    findings: tuple[Mapping[str, float], ...] = ()


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


@dataclass(frozen=True)
class Cost:
    """Rows that a method evaluates at most: all of them forward, and some of them backward for each target."""

    forwards: int
    backwards: int = 0


def one_pass(p: object, spec: InputSpec) -> Cost:
    """Return the cost of the clean picture forward and backward."""
    return Cost(1, 1)


@dataclass(frozen=True)
class Method:
    """An entry of the table of methods.

    `function(subject, parameters)` yields rows, the first of which is always the clean picture alone or in front:
    its logits are the predictions. `parameters` is the schema of its parameters, of which `cost(parameters, input)`
    tells how much a request may spend.
    """

    function: Callable[[Subject, Any], Steps]
    parameters: type
    paper: str
    needs: tuple[Need, ...] = ()
    cost: Callable[[Any, InputSpec], Cost] = one_pass


def chunks(x: Tensor) -> Iterator[Tensor]:
    """Yield `x` [n, …] a few rows at a time."""
    yield from x.split(CHUNK)
