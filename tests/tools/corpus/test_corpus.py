"""The handler answers every hostile request with an allowed status, and valid requests in the same batch correctly."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from saliency_handler import SaliencyHandler
from tests.test_explainer import picture
from tests.test_handler import ask
from tools.corpus import by_name, files
from tools.corpus.contract import faults
from tools.corpus.entry import EXPLAIN, STATUSES, Entry
from tools.corpus.tiny_network import small_classifier
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.requests.options import OPTIONS, PARAMETERS

BATCH = 7  # hostile requests in a batch, besides one valid request
GOOD = (EXPLAIN, {"data": picture(9), "target": b"cat", "format": b"npy"})
CORPUS: Mapping[str, Entry] = by_name()


@pytest.fixture(scope="module")
def handler() -> SaliencyHandler:
    handler = SaliencyHandler()
    handler.explainer = Explainer(small_classifier())
    return handler


def batches() -> Sequence[Sequence[Entry]]:
    """Return the corpus in batches; each batch mixes several kinds of entries."""
    entries = list(CORPUS.values())
    count = -(-len(entries) // BATCH)
    return [entries[first::count] for first in range(count)]


def map_and_logits(body: bytes, headers: Mapping[str, str]) -> tuple[np.ndarray, list[float]]:
    """Return the saliency map and the logits of the valid request's response."""
    metadata: dict[str, Any] = json.loads(headers["Saliency-Metadata"])
    return np.load(io.BytesIO(body)), [p["logit"] for p in metadata["predictions"]]


@pytest.mark.filterwarnings("ignore")
def test_every_entry_gets_an_allowed_status_and_does_not_affect_its_batch(handler: SaliencyHandler) -> None:
    (body,), context = ask(handler, GOOD)
    alone = map_and_logits(body, context.sent[0])
    limit = handler.explainer.classifier.limits.max_response_bytes
    failures: list[str] = []
    for batch in batches():
        bodies, context = ask(handler, *[(e.headers, dict(e.fields)) for e in batch], GOOD)
        for entry, status, body, headers in zip(batch, context.statuses, bodies, context.sent, strict=False):
            found = faults(status, body, headers, limit)
            found += [] if status in entry.statuses else [f"status {status}: {body[:200]!r}"]
            failures += [f"{entry.name}: {fault}" for fault in found]
        assert context.statuses[-1] == 200
        saliency, logits = map_and_logits(bodies[-1], context.sent[-1])
        np.testing.assert_allclose(saliency, alone[0], rtol=1e-5, atol=1e-8)
        np.testing.assert_allclose(logits, alone[1], rtol=1e-5, atol=1e-7)
    assert not failures, "\n".join(failures)


def test_the_corpus_is_the_same_in_every_run() -> None:
    for name, data, _ in files():
        assert CORPUS[name].fields["data"] == data


def test_the_corpus_covers_every_status_and_option(handler: SaliencyHandler) -> None:
    assert {status for entry in CORPUS.values() for status in entry.statuses} == STATUSES
    assert all(entry.statuses <= STATUSES for entry in CORPUS.values())
    for name in (*OPTIONS, *PARAMETERS):
        assert f"{name} is NaN" in CORPUS
