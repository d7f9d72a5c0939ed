"""What a method asks of the network, and what it is told."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from saliency.objective import Objective, Pairs
from saliency.rules import Rule


@dataclass(frozen=True)
class Rows:
    """What is to be evaluated: `inputs` [n, C, H, W], each for the same objective.

    Without `gradient` (or without an objective) the rows take the path without autograd. `layer` asks for the
    activation and gradient of that layer in place of the input's gradient.
    """

    inputs: Tensor
    objective: Objective | None = None
    gradient: bool = True
    rule: Rule = Rule.PLAIN
    layer: str | None = None

    @property
    def differentiated(self) -> bool:
        return self.gradient and self.objective is not None

    @property
    def plain(self) -> bool:
        """Tell whether nothing but the network's own output and gradient is asked for."""
        return self.layer is None and self.rule is Rule.PLAIN


@dataclass(frozen=True)
class Answer:
    """What came of rows: logits [n, K]; per row the classes settled on; scores [T, n] in float64.

    `gradient` is [T, n, C, H, W] with respect to the input, or [T, n, C, h, w] with respect to the layer's grid, whose
    `activation` is [n, C, h, w]. Logits and scores are on the CPU, the others on the network's device.
    """

    logits: Tensor
    pairs: tuple[Pairs, ...]
    scores: Tensor
    gradient: Tensor | None = None
    activation: Tensor | None = None

    @property
    def grad(self) -> Tensor:
        """The gradient, of rows that asked for one."""
        assert self.gradient is not None
        return self.gradient
