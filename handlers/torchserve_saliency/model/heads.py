"""The heads of a network: its outputs that are logits, each with its own classes, labels and activation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from torchserve_saliency.errors import RequestError
from torchserve_saliency.model.activation import ALL_COLUMNS, NONE, SOFTMAX, Activation, Columns
from torchserve_saliency.model.exact_end import ExactEnd
from torchserve_saliency.model.labels import Labels
from torchserve_saliency.model.logits import Forward, OutputKey, take_logits

DEFAULT_NAME = "logits"  # of the head of a network whose output is a single tensor


@dataclass(frozen=True)
class Head:
    """One output of a network: the key of its logits, its classes, and their columns in the logits of all heads.

    `outputs` is the number of the network's own values per picture. It differs from the number of classes if a single
    value stands for two classes. If `ends_in_probabilities` is true, the network's last operation is a softmax or a
    sigmoid, to which no activation is applied.
    """

    labels: Labels
    columns: Columns = ALL_COLUMNS
    key: OutputKey = None
    outputs: int = 0
    ends_in_probabilities: bool = False

    @property
    def name(self) -> str:
        """Return the name of the head in requests."""
        return DEFAULT_NAME if self.key is None else str(self.key)

    @property
    def activation(self) -> Activation:
        """Return the activation of the head's classes."""
        return self.columns.activation

    def logits(self, output: object, rows: int, end: ExactEnd | None = None) -> Tensor:
        """Return the logits [rows, classes] in a network's output for `rows` pictures, as exact as `end` has them."""
        logits = take_logits(output, self.key)
        logits = (end.exact(logits) if end else logits).reshape(rows, self.outputs)
        if self.outputs == len(self.labels):
            return logits
        return torch.cat([1 - logits if self.activation is NONE else -logits, logits], 1)


@dataclass(frozen=True)
class Heads:
    """All heads of a network, in the order of its output; `default` is the one that a request gets if it names none.

    `reshaped` tells if the network returns its only head's logits in another shape than [n, K].
    """

    all: tuple[Head, ...]
    default: Head
    reshaped: bool = field(default=False, repr=False)

    def __len__(self) -> int:
        return len(self.all)

    def __iter__(self) -> Iterator[Head]:
        return iter(self.all)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the heads."""
        return tuple(head.name for head in self.all)

    def find(self, name: str | int | None) -> Head:
        """Return the head of a name or position, or the default one for None; raise RequestError 422 if there is none.

        A text of digits is a name if there is such a head, else a position.
        """
        if name is None:
            return self.default
        for head in self.all:
            if head.name == str(name):
                return head
        folded = [head for head in self.all if head.name.lower() == str(name).lower()]
        if len(folded) == 1:
            return folded[0]
        if str(name).isdecimal() and int(name) < len(self.all) and not any(isinstance(h.key, int) for h in self.all):
            return self.all[int(name)]
        message = f"there is no head '{str(name)[:100]}'; this network has {', '.join(self.names)}"
        raise RequestError(422, "UnknownHeadException", message, "head")

    def forward(self, network: nn.Module) -> Forward:
        """Return the function from a network's inputs to the logits [n, W] of all heads, side by side.

        It is the network itself if it returns the logits [n, K] of a single head. A softmax or sigmoid at the end of
        the network is computed in float64.
        """
        (first, *others) = self.all
        if any(head.ends_in_probabilities for head in self.all):
            return lambda x: _exactly(self.all, network, x)
        if not others and first.key is None and first.outputs == len(first.labels) and not self.reshaped:
            return network
        if not others:
            return lambda x: first.logits(network(x), len(x))
        return lambda x: _side_by_side(self.all, network(x), len(x))

    def rounded(self) -> Heads:
        """Return these heads without the computation in float64, which torch.compile does not support."""
        heads = tuple(replace(head, ends_in_probabilities=False) for head in self.all)
        return replace(self, all=heads, default=heads[self.all.index(self.default)])


def _exactly(heads: Sequence[Head], network: nn.Module, x: Tensor) -> Tensor:
    with ExactEnd() as end:
        output: object = network(x)
    return _side_by_side(heads, output, len(x), end)


def _side_by_side(heads: Sequence[Head], output: object, rows: int, end: ExactEnd | None = None) -> Tensor:
    return torch.cat([head.logits(output, rows, end) for head in heads], 1)


def single_head(names: Sequence[str], activation: Activation = SOFTMAX) -> Heads:
    """Return the heads of a network that returns logits [n, K] for K named classes."""
    head = Head(Labels(tuple(names)), Columns(activation=activation), outputs=len(names))
    return Heads((head,), head)
