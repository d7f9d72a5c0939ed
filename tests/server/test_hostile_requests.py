"""A sample of the corpus of hostile requests, sent over HTTP to a live TorchServe."""

from __future__ import annotations

from collections.abc import Sequence

from tests.serving import worker_pids
from tools.corpus import by_name
from tools.corpus.contract import faults
from tools.corpus.entry import EXPLAIN, PREDICT, Entry, HttpRequest, http_request
from torchserve_saliency_cli.torchserve.server import TorchServe

SAMPLE = 40
MAX_BODY_BYTES = 1_000_000
MAX_RESPONSE_BYTES = 6_553_500


def sample() -> list[tuple[Entry, HttpRequest]]:
    """Return requests spread evenly over the corpus, of those with plain routes, small bodies and an HTTP form."""
    entries = [entry for entry in by_name().values() if entry.headers in (EXPLAIN, PREDICT)]
    requests = [(entry, http_request(entry)) for entry in entries]
    sendable = [(entry, request) for entry, request in requests if request and len(request.body) < MAX_BODY_BYTES]
    return sendable[:: len(sendable) // SAMPLE]


def test_sampled_requests_keep_the_contract_and_the_workers_running(server: TorchServe) -> None:
    chosen = sample()
    assert len(chosen) >= SAMPLE
    assert_contract(server, [(f"/{request.verb}/sq", entry, request) for entry, request in chosen])


def test_invalid_kserve_bodies_on_kserve_routes_keep_the_contract(server: TorchServe) -> None:
    requests = []
    for entry in by_name().values():
        if entry.name.startswith("KServe") and (request := http_request(entry)):
            verb = "explain" if entry.headers is EXPLAIN else "predict"
            paths = (f"/v1/models/sq:{verb}", f"/v2/models/sq/{'explain' if verb == 'explain' else 'infer'}")
            requests += [(path, entry, request) for path in paths]
    assert len(requests) > SAMPLE
    assert_contract(server, requests)


def assert_contract(server: TorchServe, requests: Sequence[tuple[str, Entry, HttpRequest]]) -> None:
    """Send each request to its path; assert that replies keep the contract and that no worker is replaced."""
    before, problems = worker_pids(server), []
    for path, entry, request in requests:
        reply = server.request("POST", path, request.body, request.headers)
        found = faults(reply.status, reply.body, dict(reply.headers), MAX_RESPONSE_BYTES)
        found += [] if reply.status in entry.statuses else [f"status {reply.status}: {reply.body[:200]!r}"]
        problems += [f"{entry.name}, {path}: {fault}" for fault in found]
    assert not problems, "\n".join(problems)
    assert worker_pids(server) == before
