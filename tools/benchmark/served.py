"""A TorchServe with the saliency handler at several batch sizes and the default handler, and checks of its answers."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tools.benchmark.bare_loop import decoder, gradient, inputs
from tools.benchmark.http_connections import Connection, ReplyError, connections
from tools.benchmark.measurements import ANSWER
from tools.benchmark.networks import Network, copy_with_batch_size, write_default_archive
from tools.benchmark.timing import Run
from torchserve_saliency.explainer import Explainer
from torchserve_saliency_cli.torchserve.server import TorchServe

IG = "method=integrated_gradients&steps=15"
QUANTISATION = 0.02  # relative error in norm of a map with 256 levels, and of float32


@dataclass(frozen=True)
class Served:
    """A running server and a connection to it.

    `models` holds the model names of the saliency handler by batch size, `default` that of the default handler.
    """

    server: TorchServe
    connection: Connection
    models: Mapping[int, str]
    default: str

    def request_run(self, path: str, body: bytes) -> Run:
        """Return a run of one request, which must succeed."""

        def run() -> None:
            self.connection.post(path, body)

        return run

    def peak_bytes(self) -> dict[str, int]:
        """Return the peak resident memory of each model's worker in bytes, by model."""
        entries = cast("list[dict[str, Any]]", self.server.models())
        return {e["modelName"]: _peak_resident_bytes(int(worker["pid"])) for e in entries for worker in e["workers"]}


@contextmanager
def serve(network: Network, archive: Path, folder: Path, sizes: Sequence[int], store: Path) -> Iterator[Served]:
    """Serve a network by the saliency handler, with batch size 1 and the given sizes, and by the default handler."""
    models = {size: copy_with_batch_size(archive, size, store) for size in sorted({1, *sizes})}
    default = write_default_archive(network, folder, store)
    with TorchServe(store) as server, connections(server.url, 1) as (connection,):
        yield Served(server, connection, models, default)


def check_answers(served: Served, explainer: Explainer, data: bytes) -> dict[str, int]:
    """Return the size in bytes of each kind of answer. Raise ReplyError if an answer differs from the bare loop."""
    model, post = explainer.classifier, served.connection.post
    logits, gradients = gradient(model, inputs(model, [decoder(model)(data)]))
    best, expected = int(logits[0].argmax()), gradients[0].abs().amax(0).numpy()
    answers = {
        f"{name}, batch size {size}": post(f"/explanations/{name}", data) for size, name in served.models.items()
    }
    for name, body in answers.items():
        answer = json.loads(body)
        _expect(answer["predictions"][0]["index"] == best, f"the explanation of {name} is for another class")
        _expect(
            _relative_error(_saliency_map(answer), expected) < QUANTISATION,
            f"the explanation of {name} is not the gradient",
        )
    default = {kind: post(f"/{kind}/{served.default}", data) for kind in ("predictions", "explanations")}
    prediction = post(f"/predictions/{served.models[1]}", data)
    same_input = unscaled_png(data)
    both = [json.loads(post(f"/predictions/{name}", same_input)) for name in (served.models[1], served.default)]
    _expect(_same_prediction(*both), "predictions differ")
    steps = post(f"/explanations/{served.models[1]}/1.0/{IG}&target=0&reduce=none&format=npy", data)
    ours, theirs = np.load(io.BytesIO(steps))[0], np.asarray(json.loads(default["explanations"]), np.float32)
    _expect(ours.shape == theirs.shape and _relative_error(ours, theirs) < 0.1, "integrated gradients differ")
    return {
        ANSWER: len(next(iter(answers.values()))),
        "prediction's answer": len(prediction),
        "default handler's answer, prediction": len(default["predictions"]),
        "default handler's answer, explanation": len(default["explanations"]),
    }


def unscaled_png(data: bytes) -> bytes:
    """Return a picture as a PNG of 256 x 256 pixels. Neither handler scales it, so both have the same input.

    Scaling may change pixels by one or two levels, which can change the best class of a random network.
    """
    file = io.BytesIO()
    Image.open(io.BytesIO(data)).convert("RGB").resize((256, 256)).save(file, "PNG")
    return file.getvalue()


def best_classes(served: Served, data: bytes, count: int) -> list[int]:
    """Return the indices of the `count` most likely classes."""
    answer = json.loads(served.connection.post(f"/explanations/{served.models[1]}/1.0/top_k={count}&render=none", data))
    return [int(prediction["index"]) for prediction in answer["predictions"]]


def _expect(condition: bool, message: str) -> None:
    if not condition:
        raise ReplyError(f"an answer is wrong: {message}")


def _saliency_map(answer: Mapping[str, Any]) -> NDArray[np.float32]:
    """Return the values of an answer's first map [H, W]."""
    saliency = answer["explanations"][0]["saliency"]
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(saliency["data"]))), np.float32)
    low, high = float(saliency["min"]), float(saliency["max"])
    return (low + pixels / 255 * (high - low)).astype(np.float32)


def _relative_error(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    """Return the relative error in norm."""
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


def _same_prediction(ours: Mapping[str, float], theirs: Mapping[str, float]) -> bool:
    """Return whether two predictions have the same best class with about the same probability.

    If several classes share the greatest probability, as in a random network, only the probability is compared.
    """
    (label, one), (other, two) = (max(each.items(), key=lambda pair: pair[1]) for each in (ours, theirs))
    tied = list(theirs.values()).count(two) > 1
    return (tied or label == other) and abs(one - two) < 1e-3


def _peak_resident_bytes(pid: int) -> int:
    """Return the peak resident memory of a process in bytes, or 0 if the system does not provide it."""
    status = Path(f"/proc/{pid}/status")
    match = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.is_file() else None
    return int(match[1]) * 1024 if match else 0
