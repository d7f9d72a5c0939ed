"""Maps of small networks made ready to be scored, and scores driven to their end."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TypeVar

import torch
from torch import Tensor, nn

from saliency.methods.base import Steps, Subject
from saliency.objective import Objective
from saliency.quality.base import Judged
from saliency.rows import Answer, Rows
from tests import driving
from tests.networks import classifier, inputs

T = TypeVar("T")
X = inputs(dtype=torch.float64)


def judge(
    network: nn.Module,
    values: Tensor,
    pairs: tuple[tuple[int, int], ...] = ((1, -1),),
    score: str = "logit",
    local: bool = False,
    x: Tensor = X,
    again: Callable[[Subject], Steps] | None = None,
) -> Judged:
    """Return maps [M, C, H, W], shown as the sum of their channels, to be scored for classes of a picture."""
    objective = Objective(tuple(target for target, _ in pairs), None, score, pairs)
    subject = Subject(x, objective, classifier(network).input)
    return Judged(subject, network(x)[0].detach(), values.sum(1), values, local, again=again)


def driven(network: nn.Module, steps: Generator[Rows, Answer, T]) -> T:
    """Return what a generator of rows makes of a network's answers."""
    return driving.driven(classifier(network), steps).value
