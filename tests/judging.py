"""Helpers to score maps of small networks."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TypeVar

import torch
from torch import Tensor, nn

from tests import driving
from tests.networks import classifier, inputs
from torchserve_saliency.engine.objective import Objective
from torchserve_saliency.engine.rows import Answer, Rows
from torchserve_saliency.methods.base import Steps, Subject
from torchserve_saliency.quality.judged import Judged

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
    """Return maps [M, C, H, W] ready for scoring, for these classes of a picture; as sent, channels are summed."""
    objective = Objective(tuple(target for target, _ in pairs), None, score, pairs)
    subject = Subject(x, objective, classifier(network).input)
    return Judged(subject, network(x)[0].detach(), values.sum(1), values, local, again=again)


def driven(network: nn.Module, steps: Generator[Rows, Answer, T]) -> T:
    """Return the result of a generator of rows that is driven with a network's answers."""
    return driving.driven(classifier(network), steps).value
