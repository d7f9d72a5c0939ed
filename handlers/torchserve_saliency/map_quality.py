"""The quality scores of a query's maps, computed next to those of a random map."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace

import torch

from torchserve_saliency.engine.rows import Answer, Rows
from torchserve_saliency.methods import METHODS
from torchserve_saliency.methods.base import Maps, Steps, Subject
from torchserve_saliency.methods.reduction import reduced
from torchserve_saliency.quality.infidelity_sensitivity import MOST_REPEATED, repeat_cost
from torchserve_saliency.quality.judged import Judged, Quality
from torchserve_saliency.quality.scores import quality_scores, random_map
from torchserve_saliency.requests.query import Query


def map_quality(
    query: Query, subject: Subject, clean: Answer, maps: Maps
) -> Generator[Rows, Answer, tuple[Quality, ...]]:
    """Yield the rows of the quality scores; return the scores of each map.

    `clean` is the answer for the original picture in row 0. Each map is scored as the client sees it on the input,
    with its channels summed.
    """
    options = query.options
    own = maps.of_polarity(options.polarity)
    values = torch.cat([own, random_map(own)])
    shown = reduced(values.float(), options.reduce, options.polarity)
    again, why = _repetition(query, subject)
    judged = Judged(
        subject=replace(subject, objective=subject.objective.fixed(clean.pairs[0])),
        logits=clean.logits[0],
        shown=shown.sum(1) if shown.dim() == 4 else shown,
        values=values,
        local=METHODS[options.method].local,
        findings=maps.findings,
        again=again,
        why=why,
    )
    return (yield from quality_scores(judged))


def _repetition(query: Query, subject: Subject) -> tuple[Callable[[Subject], Steps] | None, str]:
    """Return a function that explains another input with the query's method, or the reason if that costs too much."""
    name = query.options.method
    method = METHODS[name]
    cost = method.cost(query.parameters, subject.spec)
    if not repeat_cost(cost).forward_passes(1):
        needed = f"'{name}' needs {cost.forward_passes(1)} forward passes here"
        return None, f"{needed}, and is repeated only if it needs at most {MOST_REPEATED}"

    def repeated(other: Subject) -> Steps:
        again = yield from method.function(other, query.parameters)
        return replace(again, values=again.of_polarity(query.options.polarity), opposing=None)

    return repeated, ""
