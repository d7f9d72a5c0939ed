"""The requests of a soak: methods, targets, formats and routes in turn, and hostile ones of the corpus."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from scripts.corpus import by_name
from scripts.corpus.entry import EXPLAIN, PREDICT, sent
from scripts.wire import Part, form

JSON: Mapping[str, str] = MappingProxyType({"Content-Type": "application/json"})
# what is asked in a form of its own, for each picture
FORMS: Sequence[Mapping[str, str]] = (
    {},
    {"method": "guided_backprop", "target": "top3"},
    {"method": "grad_cam", "render": "overlay", "against": "runner_up"},
    {"method": "smooth_grad", "samples": "6", "reduce": "sum", "format": "npy"},
    {"method": "integrated_gradients", "steps": "6", "score": "probability", "reduce": "none", "format": "npy"},
    {"method": "layer_cam", "target": "1", "space": "original", "format": "png", "render": "side_by_side"},
    {"method": "gradient", "target": "0;2", "polarity": "positive", "reduce": "sum"},
    {"render": "none", "top_k": "3"},
)
LARGEST = 200_000  # bytes of a hostile request: a soak is to hold the worker, not the wire, to its work
HOSTILE = 60
RIGHT = frozenset({200})
TAKEN = RIGHT | {422}  # a method, a layer or a class that this network may not have


@dataclass(frozen=True)
class Ask:
    """One request, the kind of it that figures are given for, and the statuses that may answer it."""

    kind: str
    path: str
    body: bytes
    headers: Mapping[str, str] = field(hash=False)
    statuses: frozenset[int] = RIGHT


def good(model: str, pictures: Sequence[bytes]) -> Iterator[Ask]:
    """Yield well-formed requests: every form of each picture, and the other routes."""
    for picture in pictures:
        text = base64.b64encode(picture).decode()
        yield Ask("predictions", f"/predictions/{model}", picture, {"Content-Type": "application/octet-stream"})
        for fields in FORMS:
            body, content_type = form([Part("data", picture, "x"), *(Part(k, v) for k, v in fields.items())])
            kind = fields.get("method", "gradient" if "render" not in fields else "scores")
            statuses = TAKEN if "method" in fields else RIGHT
            yield Ask(kind, f"/explanations/{model}", body, {"Content-Type": content_type}, statuses)
        instances = [{"data": text, "method": "grad_cam"}, {"data": "!"}, {"data": text, "target": 1}]
        yield Ask("KServe v1", f"/v1/models/{model}:explain", _json(instances=instances), JSON)
        tensor = {"name": "x", "shape": [1], "datatype": "BYTES", "data": [text]}
        yield Ask("KServe v2", f"/v2/models/{model}/explain", _json(inputs=[tensor], id="7"), JSON)


def hostile(model: str) -> Iterator[Ask]:
    """Yield requests spread over the corpus, of those that HTTP carries as they are."""
    made = [(sent(entry), entry.statuses) for entry in by_name().values() if entry.headers in (EXPLAIN, PREDICT)]
    small = [(each, statuses) for each, statuses in made if each and len(each.body) < LARGEST]
    for each, statuses in small[:: max(1, len(small) // HOSTILE)]:
        yield Ask("hostile", f"/{each.verb}/{model}", each.body, each.headers, statuses)


def _json(**fields: object) -> bytes:
    return json.dumps(fields).encode()
