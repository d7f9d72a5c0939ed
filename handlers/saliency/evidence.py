"""A query's maps made ready to be scored: those that are sent, beside a random one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from saliency.methods import METHODS
from saliency.methods.base import Maps, Steps, Subject
from saliency.quality import random_values
from saliency.quality.base import Judged
from saliency.quality.robustness import MOST_REPEATED, repeated
from saliency.reduce import reduced
from saliency.request import Query
from saliency.rows import Answer


def judged(query: Query, subject: Subject, clean: Answer, maps: Maps) -> Judged:
    """Return a query's maps as they are shown on the input, channels summed, and a random one behind them."""
    options = query.options
    values = torch.cat([maps.values, random_values(maps.values)])
    shown = reduced(values.float(), options.reduce, options.polarity)
    again, why = _again(query, subject)
    return Judged(
        subject=replace(subject, objective=subject.objective.fixed(clean.pairs[0])),
        logits=clean.logits[0],
        shown=shown.sum(1) if shown.dim() == 4 else shown,
        values=values,
        local=METHODS[options.method].local,
        findings=maps.findings,
        again=again,
        why=why,
    )


def _again(query: Query, subject: Subject) -> tuple[Callable[[Subject], Steps] | None, str]:
    """Return what explains another input as this query does, or why that would be too dear."""
    name = query.options.method
    method = METHODS[name]
    cost = method.cost(query.parameters, subject.spec)
    if not repeated(cost).pictures(1):
        why = (
            f"'{name}' evaluates {cost.pictures(1)} rows here, and is run again where they are at most {MOST_REPEATED}"
        )
        return None, why
    return lambda other: method.function(other, query.parameters), ""
