"""The requests of a soak: valid ones with various methods, targets, formats and routes, and hostile ones."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from tools.corpus import by_name
from tools.corpus.entry import EXPLAIN, PREDICT, http_request
from torchserve_saliency_cli.client.transport import Part, form

JSON: Mapping[str, str] = MappingProxyType({"Content-Type": "application/json"})
# one request per picture for each of these option sets
OPTION_SETS: Sequence[Mapping[str, str]] = (
    {},
    {"method": "guided_backprop", "target": "top3"},
    {"method": "grad_cam", "render": "overlay", "against": "runner_up"},
    {"method": "smooth_grad", "samples": "6", "reduce": "sum", "format": "npy"},
    {"method": "integrated_gradients", "steps": "6", "score": "probability", "reduce": "none", "format": "npy"},
    {"method": "layer_cam", "target": "1", "space": "original", "format": "png", "render": "side_by_side"},
    {"method": "gradient", "target": "0;2", "polarity": "positive", "reduce": "sum"},
    {"render": "none", "top_k": "3"},
)
MAX_BYTES = 200_000  # of a hostile request: larger bodies would keep the network busy instead of the worker
HOSTILE = 60  # approximate number of hostile requests
OK = frozenset({200})
OK_OR_UNSUPPORTED = OK | {422}  # the network may lack the method, the layer or the class


@dataclass(frozen=True)
class Request:
    """One request. The report groups requests by `kind`; `statuses` are the allowed ones."""

    kind: str
    path: str
    body: bytes
    headers: Mapping[str, str] = field(hash=False)
    statuses: frozenset[int] = OK


def valid_requests(model: str, pictures: Sequence[bytes]) -> Iterator[Request]:
    """Yield valid requests: each picture with every option set, and on the other routes."""
    for picture in pictures:
        text = base64.b64encode(picture).decode()
        yield Request("predictions", f"/predictions/{model}", picture, {"Content-Type": "application/octet-stream"})
        for options in OPTION_SETS:
            body, content_type = form([Part("data", picture, "x"), *(Part(k, v) for k, v in options.items())])
            kind = options.get("method", "gradient" if "render" not in options else "scores")
            statuses = OK_OR_UNSUPPORTED if "method" in options else OK
            yield Request(kind, f"/explanations/{model}", body, {"Content-Type": content_type}, statuses)
        instances = [{"data": text, "method": "grad_cam"}, {"data": "!"}, {"data": text, "target": 1}]
        yield Request("KServe v1", f"/v1/models/{model}:explain", _json(instances=instances), JSON)
        tensor = {"name": "x", "shape": [1], "datatype": "BYTES", "data": [text]}
        yield Request("KServe v2", f"/v2/models/{model}/explain", _json(inputs=[tensor], id="7"), JSON)


def hostile_requests(model: str) -> Iterator[Request]:
    """Yield hostile requests, spread over those entries of the corpus that can be sent over HTTP unchanged."""
    encoded = [
        (http_request(entry), entry.statuses) for entry in by_name().values() if entry.headers in (EXPLAIN, PREDICT)
    ]
    small = [(each, statuses) for each, statuses in encoded if each and len(each.body) < MAX_BYTES]
    for each, statuses in small[:: max(1, len(small) // HOSTILE)]:
        yield Request("hostile", f"/{each.verb}/{model}", each.body, each.headers, statuses)


def _json(**fields: object) -> bytes:
    return json.dumps(fields).encode()
