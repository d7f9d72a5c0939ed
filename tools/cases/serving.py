"""Requests that depend on the server around the handler: limits, browsers, large answers, metrics (D4, 5, 9, 10)."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from saliency_handler import SaliencyHandler
from tools.cases.case import SkippedCaseError, check
from tools.cases.inputs import archive_small, check_refused, file_of, photograph
from tools.cases.workshop import InProcess, Workshop
from torchserve_saliency.explainer import Explainer
from torchserve_saliency_cli.client.transport import Part, form, send
from torchserve_saliency_cli.torchserve.launch import require_torchserve
from torchserve_saliency_cli.torchserve.processes import free_ports
from torchserve_saliency_cli.torchserve.properties import addresses
from torchserve_saliency_cli.torchserve.server import ServerError, TorchServe

ORIGIN = {"Origin": "https://app.example.org", "Access-Control-Request-Method": "POST"}
PHOTOGRAPH = (4000, 3000)
ROUTE = "/explanations/net"
LONG = {"method": "rise", "samples": "4900"}


@contextmanager
def served(
    workshop: Workshop, archive: Path, settings: Mapping[str, str], authorize: bool = False, only: bool = False
) -> Iterator[TorchServe]:
    """Yield a TorchServe of an archive; raise SkippedCaseError if TorchServe is not installed here.

    The settings override those of our config.properties, or are all that there are if `only`.
    """
    try:
        require_torchserve()
    except ServerError as error:
        raise SkippedCaseError(str(error)) from error
    store = workshop.folder / "store"
    store.mkdir()
    archive.rename(store / archive.name)
    server = TorchServe(store, settings, authorize=authorize)
    if only:
        own = {"model_store": str(store.resolve()), "disable_token_authorization": str(not authorize).lower()}
        server.settings = {**settings, **own}
    with server:
        yield server


def preflight(workshop: Workshop) -> str:
    """D4: TorchServe answers a preflight 400 if tokens are on, whatever its settings of CORS are."""
    cors = {"cors_allowed_origin": "*", "cors_allowed_methods": "POST, OPTIONS", "cors_allowed_headers": "*"}
    with served(workshop, archive_small(workshop).path, cors, authorize=True) as server:
        status = send(server.url + ROUTE, "OPTIONS", headers=ORIGIN).status
        body, content_type = form([Part("data", file_of(photograph()), "leaf.png")])
        headers = {"Content-Type": content_type, "Origin": ORIGIN["Origin"]}
        answer = server.request("POST", ROUTE, body, headers)
    check(status == 400, f"the preflight is answered {status}")
    check(answer.status == 200, f"the request itself is answered {answer.status}")
    return "400 from TorchServe; docs/operations.md has the lines of a proxy that answers it"


def large_overlay(workshop: Workshop) -> str:
    """D5: an overlay of a large photograph is a PNG that is too large, and a JPEG or WebP that is not."""
    archived = archive_small(workshop)
    handler = workshop.handler(archived)
    noise = Image.effect_noise(PHOTOGRAPH, 60).convert("RGB")
    data = file_of(Image.blend(photograph(PHOTOGRAPH), noise, 0.4), "JPEG", quality=90)
    view = {"render": "overlay", "space": "original", "backdrop": "color"}
    options = {"data": data, "method": "grad_cam", **view}
    check_refused(handler.ask({**options, "format": "png"}), 413, "jpeg", "webp")
    explanation = handler.handler.explainer.explain(data, method="grad_cam", space="original")
    drawn = np.asarray(explanation.image(render="overlay", backdrop="color"), np.float64)
    sizes = []
    for name in ("jpeg", "webp"):
        by_option = handler.ask({**options, "format": name})
        by_header = handler.ask(options, accept=f"image/{name}")
        check(by_option.status == by_header.status == 200, f"{name}: {by_option.status} and {by_header.status}")
        check(by_option.body == by_header.body, f"{name}: the option and the header give two pictures")
        check(by_option.headers["Content-Type"] == f"image/{name}", f"{name}: {by_option.headers}")
        image = Image.open(io.BytesIO(by_option.body))
        check((image.format or "").lower() == name and image.size == PHOTOGRAPH, f"{image.format} {image.size}")
        error = float(np.abs(np.asarray(image, np.float64) - drawn).mean())
        check(error < 8, f"the {name} differs from the overlay by {error:.1f} levels")
        sizes.append(f"{name} {len(by_option.body) / 1e6:.1f} MB")
    return f"PNG 413, naming jpeg and webp; {', '.join(sizes)}"


def limits_of_time(workshop: Workshop) -> str:
    """D9: a request is refused by its number of passes, and ended by processor time or at the deadline of its batch."""
    data = file_of(photograph())
    usual = workshop.handler(archive_small(workshop))
    with busy_machine():
        answer = usual.ask({"data": data, "method": "rise", "samples": "1000"})
    check(answer.status == 200, f"status {answer.status} on a busy machine")
    check_refused(usual.ask({"data": data, **LONG, "samples": "8000"}), 400, "8,001 forward passes", "max_forwards")
    spent = _within(usual, max_seconds=0.05).ask({"data": data, **LONG})
    check_refused(spent, 504, "0.05 seconds of processor time", "max_seconds")
    late = _within(usual, max_batch_seconds=0.05).ask({"data": data, **LONG})
    check_refused(late, 503, "no time left", "later")
    types = {spent.body["type"], late.body["type"]}
    check(types == {"DeadlineException"}, f"types {types}")
    return "busy machine: 200; too many passes: 400; its processor time used up: 504; deadline of the batch: 503"


def _within(usual: InProcess, **limits: Any) -> InProcess:
    """Return a handler of the same network with other limits; those of an archive are whole seconds."""
    classifier = usual.handler.explainer.classifier
    handler = SaliencyHandler()
    handler.explainer = Explainer(replace(classifier, limits=replace(classifier.limits, **limits)))
    return InProcess(handler, usual.context)


@contextmanager
def busy_machine() -> Iterator[None]:
    """Keep the processor busy with other work during the block."""
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            np.linalg.eigvals(np.eye(60))

    others = [threading.Thread(target=work) for _ in range(3)]
    for other in others:
        other.start()
    try:
        yield
    finally:
        ended.set()
        for other in others:
            other.join()


def metrics_without_our_file(workshop: Workshop) -> str:
    """D10: metrics are exported with a user's own config.properties, if it lets TorchServe find metrics itself."""
    own = {"metrics_mode": "prometheus", "model_metrics_auto_detect": "true", "load_models": "all"}
    with served(workshop, archive_small(workshop).path, {**own, **addresses(free_ports(5))}, only=True) as server:
        body, content_type = form([Part("data", file_of(photograph())), Part("method", "grad_cam")])
        answer = server.request("POST", ROUTE, body, {"Content-Type": content_type})
        check(answer.status == 200, f"the request is answered {answer.status}")
        text = server.request("GET", "/metrics", api="metrics").body.decode()
    lines = [line for line in text.splitlines() if line.startswith("saliency_")]
    explained = [
        line for line in lines if line.startswith("saliency_explanations_total{") and 'method="grad_cam"' in line
    ]
    check(len(explained) == 1 and float(explained[0].split()[-1]) == 1, f"explanations: {explained}")
    names = {line.split("{")[0].removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") for line in lines}
    check({"saliency_batch_seconds", "saliency_refused_total", "saliency_batch_size"} <= names, f"only {sorted(names)}")
    return f"{len(names)} metrics of the handler are on the metrics port"
