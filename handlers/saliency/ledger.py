"""What requests asked for and how they ended, in words of our own: nothing that a client wrote is in it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from saliency.errors import RequestError
from saliency.measures import EXPLANATIONS, PREDICTIONS, REFUSED, Measures
from saliency.protocols.base import Call, Found
from saliency.request import Query
from saliency.response import Response
from saliency.targets import INDEX, Rank

Asked = Query | RequestError


def tally(
    measures: Measures,
    queries: Sequence[Asked],
    answered: Sequence[tuple[Call, Sequence[Found]]],
    responses: Sequence[Response],
) -> None:
    """Count what came of each picture, and the answers that could not be written."""
    outcomes = [outcome for _, found in answered for outcome in found]
    for query, outcome in zip(queries, outcomes, strict=True):
        if isinstance(outcome, RequestError):
            measures.add(REFUSED, 1, str(outcome.status), outcome.kind)
        elif isinstance(query, Query) and query.objective:
            measures.add(EXPLANATIONS, 1, query.options.method, target_kind(query))
        else:
            measures.add(PREDICTIONS, 1)
    for response in responses:
        for status, kind in response.unwritten:
            measures.add(REFUSED, 1, str(status), kind)


def target_kind(query: Query) -> str:
    """Return how the classes to explain were named: `predicted`, `top_k`, `index`, `label` or `several`."""
    targets = query.options.target
    if all(isinstance(target, Rank) for target in targets):
        return "predicted" if targets == (Rank(0),) else "top_k"
    if len(targets) > 1:
        return "several"
    return "index" if INDEX.fullmatch(str(targets[0]).strip()) else "label"


def of_each(calls: Sequence[Call], queries: Sequence[Asked]) -> Iterator[list[Asked]]:
    """Yield each call's queries."""
    each = iter(queries)
    for call in calls:
        yield [next(each) for _ in call.messages]


def line(request: str | None, model: tuple[str, str], queries: Sequence[Asked], response: Response, ms: float) -> str:
    """Return a request's line of the log: ASCII JSON, so that nothing in it can break the line or begin another."""
    explained = [query for query in queries if isinstance(query, Query) and query.objective]
    said = {
        "request": request,
        "model": model[0],
        "version": model[1],
        "status": response.status,
        "type": response.kind or None,
        "pictures": len(queries),
        "methods": sorted({query.options.method for query in explained}),
        "targets": sorted({target_kind(query) for query in explained}),
        "bytes": len(response.body),
        "milliseconds": round(ms, 1),
    }
    return json.dumps(said)
