"""The interface of a method: a generator that yields rows, receives their answers and returns maps."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import torch
from torch import Tensor

from torchserve_saliency.engine.objective import Objective
from torchserve_saliency.engine.rows import Answer, Rows
from torchserve_saliency.images.preprocessing import InputSpec
from torchserve_saliency.model.self_attention import SelfAttention

CHUNK = 16  # rows yielded at a time by a method with many forward passes
MOST_PASSES = 500  # upper bound of a parameter that counts samples or steps


@dataclass(frozen=True)
class Maps:
    """The result of a method: maps [T, C, H, W] before `reduce`, one per target, with C = 1 if they have no channels.

    `findings` are further JSON values, one mapping per target. If the method made its own input, `clean` is the answer
    for that input, and the predictions are taken from it. If `values` are only the evidence for a class, because the
    method cuts off the rest, `opposing` returns the evidence against it, as maps without positive values.
    """

    values: Tensor
    findings: tuple[Mapping[str, Any], ...] = ()
    clean: Answer | None = None
    opposing: Callable[[], Tensor] | None = None

    def of_polarity(self, polarity: str) -> Tensor:
        """Return the maps that a polarity is taken from: `opposing` if it is `negative`, else `values`."""
        return self.opposing() if self.opposing and polarity == "negative" else self.values


@dataclass(frozen=True)
class Subject:
    """The input of a method: `x` [1, C, H, W], the objective to explain, and properties of the network."""

    x: Tensor
    objective: Objective
    spec: InputSpec = field(repr=False)
    attention: SelfAttention = field(default_factory=SelfAttention, repr=False)


Steps = Generator[Rows, Answer, Maps]


class Need(Enum):
    """A property that a method needs from the network; `requests.compatibility` checks if the network has it."""

    HOOKS = "modules that accept hooks"
    RECTIFIERS = "ReLUs"
    LAYER = "a layer with spatial extent"
    ATTENTION = "self-attention between the patches of the whole picture"


class Shows(Enum):
    """The kind of a method's maps.

    SALIENCY maps have the input's height and width. CHANNELS are the channels of a layer on the layer's own grid, drawn
    as a sheet of tiles. INPUT is an input made by the method; such a method takes no picture and starts from grey.
    """

    SALIENCY = "saliency"
    CHANNELS = "channels"
    INPUT = "input"


@dataclass(frozen=True)
class Cost:
    """The most passes of one picture that a method needs.

    `forwards` are forward passes that all targets share, `per_target` further forward passes for each target, and
    `backwards` backward passes for each target.
    """

    forwards: int
    backwards: int = 0
    per_target: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.forwards + other.forwards, self.backwards + other.backwards, self.per_target + other.per_target
        )

    def forward_passes(self, targets: int) -> int:
        """Return the number of forward passes for this many targets."""
        return self.forwards + self.per_target * targets


def forward_only(p: object, spec: InputSpec) -> Cost:
    """Return the cost of one forward pass, of the clean picture."""
    return Cost(1)


def one_pass(p: object, spec: InputSpec) -> Cost:
    """Return the cost of one forward and one backward pass, of the clean picture."""
    return Cost(1, 1)


def keep_parameters(p: object, spec: InputSpec) -> object:
    """Return the parameters unchanged, for a method with parameters that fit every input."""
    return p


@dataclass(frozen=True)
class Method:
    """An entry of the table of methods.

    `function(subject, parameters)` yields rows, starting with the clean picture: its logits are the predictions.
    `parameters` is the schema of the parameters, and `cost(parameters, input)` the most passes that they need. `help`
    tells a person in one line what the map shows.
    `fit(parameters, input)` fills in values that depend on the input's size, and raises RequestError 400 if a value
    does not fit the input. If `local` is true, maps are gradients in units of score per unit of input; otherwise they
    are shares of the score. `shows` is the kind of the maps. If `class_specific` is false, the map is the same for
    every class. If `signed` is false, no value is ever negative, so there is no evidence against a class.
    """

    function: Callable[[Subject, Any], Steps]
    parameters: type
    paper: str
    help: str
    needs: tuple[Need, ...] = ()
    cost: Callable[[Any, InputSpec], Cost] = one_pass
    fit: Callable[[Any, InputSpec], Any] = keep_parameters
    local: bool = False
    shows: Shows = Shows.SALIENCY
    class_specific: bool = True
    signed: bool = True


def chunks(x: Tensor) -> Iterator[Tensor]:
    """Yield `x` [n, …] in chunks of at most CHUNK rows."""
    yield from x.split(CHUNK)


def to_picture(subject: Subject) -> Tensor:
    """Return the subject's input without its normalisation: a picture [C, H, W] in 0-1, on the CPU."""
    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (subject.spec.unit_mean, subject.spec.unit_std))
    picture = (subject.x[0].detach().float().cpu() * std + mean).clamp(0, 1)
    return picture.flip(0) if subject.spec.channel_order == "bgr" else picture


@dataclass(frozen=True)
class NoParameters:
    """The parameters of a method that has none."""
