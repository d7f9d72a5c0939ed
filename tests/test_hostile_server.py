"""A sample of the corpus of hostile requests, over HTTP to a live TorchServe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from scripts.corpus import by_name
from scripts.corpus.contract import faults
from scripts.corpus.entry import EXPLAIN, PREDICT, Entry, Sent, sent
from scripts.server import TorchServe

SAMPLE = 40
MOST_BYTES = 1_000_000
LIMIT = 6_553_500


def sample() -> Mapping[str, tuple[Entry, Sent]]:
    """Return requests spread over the whole corpus, of those whose route HTTP carries as it is."""
    made = {e.name: (e, sent(e)) for e in by_name().values() if e.headers in (EXPLAIN, PREDICT)}
    sendable = [(e, s) for e, s in made.values() if s and len(s.body) < MOST_BYTES]
    return {e.name: (e, s) for e, s in sendable[:: len(sendable) // SAMPLE]}


def workers(server: TorchServe) -> set[object]:
    """Return the processes that serve the model `sq`."""
    models = [model for model in server.models() if model["modelName"] == "sq"]
    return {worker["pid"] for model in models for worker in cast("list[dict[str, object]]", model["workers"])}


def test_a_sample_of_the_corpus_keeps_the_contract_and_the_workers(server: TorchServe) -> None:
    before, wrong = workers(server), []
    chosen = sample()
    assert len(chosen) >= SAMPLE
    for name, (entry, request) in chosen.items():
        reply = server.request("POST", f"/{request.verb}/sq", request.body, request.headers)
        found = faults(reply.status, reply.body, dict(reply.headers), LIMIT)
        found += [] if reply.status in entry.statuses else [f"status {reply.status}: {reply.body[:200]!r}"]
        wrong += [f"{name}: {fault}" for fault in found]
    assert not wrong, "\n".join(wrong)
    assert workers(server) == before
