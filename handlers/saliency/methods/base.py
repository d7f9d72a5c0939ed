"""What a method is: a generator that yields rows, is sent their answers, and returns its maps."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from saliency.image import InputSpec
from saliency.objective import Objective
from saliency.rows import Answer, Rows

CHUNK = 16  # rows that a method with many passes asks for at a time


@dataclass(frozen=True)
class Maps:
    """A method's maps [T, C, H, W] before `reduce` (C = 1 where a map has no channels), and scalars found."""

    values: Tensor
    findings: tuple[Mapping[str, float], ...] = ()


@dataclass(frozen=True)
class Subject:
    """What is explained: the input `x` [1, C, H, W], for which objective, in which terms."""

    x: Tensor
    objective: Objective
    spec: InputSpec = field(repr=False)


Steps = Generator[Rows, Answer, Maps]


@dataclass(frozen=True)
class Method:
    """An entry of the table of methods.

    `function(subject, parameters)` yields rows, the first of which is always the clean picture alone or in front:
    its logits are the predictions. `parameters` is the schema of its parameters.
    """

    function: Callable[[Subject, Any], Steps]
    parameters: type
    paper: str
    needs_rectifiers: bool = False
    needs_layer: bool = False


def chunks(x: Tensor) -> Iterator[Tensor]:
    """Yield `x` [n, …] a few rows at a time."""
    yield from x.split(CHUNK)
