"""Metrics and log lines of requests; no text that a client wrote is in them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from torchserve_saliency.engine.metrics import EXPLANATIONS, PREDICTIONS, REFUSED, BatchMetrics
from torchserve_saliency.engine.objective import Above, Rank
from torchserve_saliency.errors import RequestError
from torchserve_saliency.protocols.call import Call, Result
from torchserve_saliency.requests.class_lookup import INDEX
from torchserve_saliency.requests.query import Query
from torchserve_saliency.responses.encoding import Response

ReadQuery = Query | RequestError


def count_results(
    metrics: BatchMetrics,
    queries: Sequence[ReadQuery],
    results: Sequence[tuple[Call, Sequence[Result]]],
    responses: Sequence[Response],
) -> None:
    """Add the result of each picture to the metrics, and the errors of answers that could not be encoded."""
    flat = [result for _, of_call in results for result in of_call]
    for query, result in zip(queries, flat, strict=True):
        if isinstance(result, RequestError):
            metrics.add(REFUSED, 1, str(result.status), result.kind)
        elif isinstance(query, Query) and query.objective:
            metrics.add(EXPLANATIONS, 1, query.options.method, target_kind(query))
        else:
            metrics.add(PREDICTIONS, 1)
    for response in responses:
        for status, kind in response.encoding_errors:
            metrics.add(REFUSED, 1, str(status), kind)


def target_kind(query: Query) -> str:
    """Return the form of the option `target`: `predicted`, `top_k`, `above`, `index`, `label` or `several`."""
    targets = query.options.target
    if isinstance(targets[0], Above):
        return "above"
    if all(isinstance(target, Rank) for target in targets):
        return "predicted" if targets == (Rank(0),) else "top_k"
    if len(targets) > 1:
        return "several"
    return "index" if INDEX.fullmatch(str(targets[0]).strip()) else "label"


def queries_per_call(calls: Sequence[Call], queries: Sequence[ReadQuery]) -> Iterator[list[ReadQuery]]:
    """Yield the queries of each call, from the queries of all calls in order."""
    remaining = iter(queries)
    for call in calls:
        yield [next(remaining) for _ in call.messages]


def log_line(
    request: str | None, model: tuple[str, str], queries: Sequence[ReadQuery], response: Response, milliseconds: float
) -> str:
    """Return the log line of a request, as ASCII JSON, which can hold no line break."""
    explained = [query for query in queries if isinstance(query, Query) and query.objective]
    entry = {
        "request": request,
        "model": model[0],
        "version": model[1],
        "status": response.status,
        "type": response.kind or None,
        "pictures": len(queries),
        "methods": sorted({query.options.method for query in explained}),
        "targets": sorted({target_kind(query) for query in explained}),
        "bytes": len(response.body),
        "milliseconds": round(milliseconds, 1),
    }
    return json.dumps(entry)
