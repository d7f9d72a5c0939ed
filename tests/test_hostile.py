"""The corpus of hostile requests, in batches with good neighbours, asked of the handler."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from saliency.explainer import Explainer
from saliency.options import OPTIONS, PARAMETERS
from saliency_handler import SaliencyHandler
from scripts.corpus import by_name, files
from scripts.corpus.contract import faults
from scripts.corpus.entry import EXPLAIN, STATUSES, Entry
from scripts.corpus.network import small_classifier
from tests.test_explainer import picture
from tests.test_handler import ask

BATCH = 7  # hostile requests that share a batch with a good one
GOOD = (EXPLAIN, {"data": picture(9), "target": b"cat", "format": b"npy"})
CORPUS: Mapping[str, Entry] = by_name()


@pytest.fixture(scope="module")
def handler() -> SaliencyHandler:
    handler = SaliencyHandler()
    handler.explainer = Explainer(small_classifier())
    return handler


def batches() -> Sequence[Sequence[Entry]]:
    entries = list(CORPUS.values())
    return [entries[i::count] for count in [-(-len(entries) // BATCH)] for i in range(count)]  # of mixed kinds


def told(body: bytes, sent: Mapping[str, str]) -> tuple[np.ndarray, list[float]]:
    """Return the good request's map, exact, and its logits."""
    said: dict[str, Any] = json.loads(sent["Saliency-Metadata"])
    return np.load(io.BytesIO(body)), [p["logit"] for p in said["predictions"]]


@pytest.mark.filterwarnings("ignore")
def test_every_entry_has_a_status_of_its_own_and_harms_no_neighbour(handler: SaliencyHandler) -> None:
    (body,), context = ask(handler, GOOD)
    alone = told(body, context.sent[0])
    limit = handler.explainer.classifier.limits.max_response_bytes
    wrong: list[str] = []
    for batch in batches():
        bodies, context = ask(handler, *[(e.headers, dict(e.fields)) for e in batch], GOOD)
        for entry, status, body, sent in zip(batch, context.statuses, bodies, context.sent, strict=False):
            found = faults(status, body, sent, limit)
            found += [] if status in entry.statuses else [f"status {status}: {body[:200]!r}"]
            wrong += [f"{entry.name}: {fault}" for fault in found]
        assert context.statuses[-1] == 200
        saliency, logits = told(bodies[-1], context.sent[-1])
        np.testing.assert_allclose(saliency, alone[0], rtol=1e-5, atol=1e-8)
        np.testing.assert_allclose(logits, alone[1], rtol=1e-5, atol=1e-7)
    assert not wrong, "\n".join(wrong)


def test_the_corpus_is_the_same_at_every_run() -> None:
    for name, data, _ in files():
        assert CORPUS[name].fields["data"] == data


def test_the_corpus_asks_for_refusals_of_every_kind_and_for_answers(handler: SaliencyHandler) -> None:
    assert {status for entry in CORPUS.values() for status in entry.statuses} == STATUSES
    assert all(entry.statuses <= STATUSES for entry in CORPUS.values())
    for name in (*OPTIONS, *PARAMETERS):
        assert f"{name} is NaN" in CORPUS
