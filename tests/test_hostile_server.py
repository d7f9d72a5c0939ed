"""A sample of the corpus of hostile requests, over HTTP to a live TorchServe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    chosen = sample()
    assert len(chosen) >= SAMPLE
    hold(server, [(f"/{request.verb}/sq", entry, request) for entry, request in chosen.values()])


def test_wrong_kserve_bodies_keep_it_on_their_own_routes(server: TorchServe) -> None:
    asked = []
    for entry in by_name().values():
        if entry.name.startswith("KServe") and (request := sent(entry)):
            verb = "explain" if entry.headers is EXPLAIN else "predict"
            paths = (f"/v1/models/sq:{verb}", f"/v2/models/sq/{'explain' if verb == 'explain' else 'infer'}")
            asked += [(path, entry, request) for path in paths]
    assert len(asked) > SAMPLE
    hold(server, asked)


def hold(server: TorchServe, asked: Sequence[tuple[str, Entry, Sent]]) -> None:
    """Ask each path with its request and hold the answers against the contract; the workers live on."""
    before, wrong = workers(server), []
    for path, entry, request in asked:
        reply = server.request("POST", path, request.body, request.headers)
        found = faults(reply.status, reply.body, dict(reply.headers), LIMIT)
        found += [] if reply.status in entry.statuses else [f"status {reply.status}: {reply.body[:200]!r}"]
        wrong += [f"{entry.name}, {path}: {fault}" for fault in found]
    assert not wrong, "\n".join(wrong)
    assert workers(server) == before
