"""A TorchServe with our archive at several batch sizes and the default handler's, and what its answers must hold."""

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

from saliency.explainer import Explainer
from scripts.bench.figures import ANSWER
from scripts.bench.loops import decoder, gradient, inputs
from scripts.bench.networks import Network, default_archive, with_batch_size
from scripts.bench.timing import Run
from scripts.bench.wire import Connection, ReplyError, connections
from scripts.server import TorchServe

IG = "method=integrated_gradients&steps=15"
QUANTISED = 0.02  # relative error in norm that 256 steps and float32 leave room for


@dataclass(frozen=True)
class Served:
    """A running server, a connection to it, and the names of our model by batch size and of the default's."""

    server: TorchServe
    connection: Connection
    ours: Mapping[int, str]
    default: str

    def ask(self, path: str, body: bytes) -> Run:
        """Return one request, which must succeed."""

        def run() -> None:
            self.connection.post(path, body)

        return run

    def peak_bytes(self) -> dict[str, int]:
        """Return the most memory that each model's worker has had resident, by model."""
        entries = cast("list[dict[str, Any]]", self.server.models())
        return {e["modelName"]: _high_water(int(worker["pid"])) for e in entries for worker in e["workers"]}


@contextmanager
def serving(network: Network, archive: Path, folder: Path, sizes: Sequence[int], store: Path) -> Iterator[Served]:
    """Serve a network with our handler for batches of one and of each size, and with the default handler."""
    ours = {size: with_batch_size(archive, size, store) for size in sorted({1, *sizes})}
    default = default_archive(network, folder, store)
    with TorchServe(store) as server, connections(server.url, 1) as (connection,):
        yield Served(server, connection, ours, default)


def check_answers(served: Served, explainer: Explainer, data: bytes) -> dict[str, int]:
    """Return the bytes of each kind of answer; ReplyError where one does not hold what the bare loop finds."""
    model, post = explainer.classifier, served.connection.post
    logits, found = gradient(model, inputs(model, [decoder(model)(data)]))
    best, expected = int(logits[0].argmax()), found[0].abs().amax(0).numpy()
    answers = {f"{name}, batch size {size}": post(f"/explanations/{name}", data) for size, name in served.ours.items()}
    for name, body in answers.items():
        said = json.loads(body)
        _expect(said["predictions"][0]["index"] == best, f"the explanation of {name} is of another class")
        _expect(_error(_map(said), expected) < QUANTISED, f"the explanation of {name} is not the gradient")
    default = {kind: post(f"/{kind}/{served.default}", data) for kind in ("predictions", "explanations")}
    prediction = post(f"/predictions/{served.ours[1]}", data)
    alike = unscaled(data)
    both = [json.loads(post(f"/predictions/{name}", alike)) for name in (served.ours[1], served.default)]
    _expect(_likely(*both), "predictions differ")
    steps = post(f"/explanations/{served.ours[1]}/1.0/{IG}&target=0&reduce=none&format=npy", data)
    ours, theirs = np.load(io.BytesIO(steps))[0], np.asarray(json.loads(default["explanations"]), np.float32)
    _expect(ours.shape == theirs.shape and _error(ours, theirs) < 0.1, "integrated gradients differ")
    return {
        ANSWER: len(next(iter(answers.values()))),
        "prediction's answer": len(prediction),
        "default handler's answer, prediction": len(default["predictions"]),
        "default handler's answer, explanation": len(default["explanations"]),
    }


def unscaled(data: bytes) -> bytes:
    """Return a picture as a PNG of 256 x 256 pixels, which neither handler scales: both show their network the same.

    Scaled, pixels may differ by a level or two, which decides between the classes of a random network.
    """
    file = io.BytesIO()
    Image.open(io.BytesIO(data)).convert("RGB").resize((256, 256)).save(file, "PNG")
    return file.getvalue()


def best_classes(served: Served, data: bytes, count: int) -> list[int]:
    """Return the indices of the classes that are predicted first."""
    said = json.loads(served.connection.post(f"/explanations/{served.ours[1]}/1.0/top_k={count}&render=none", data))
    return [int(prediction["index"]) for prediction in said["predictions"]]


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ReplyError(f"an answer does not hold what it should: {otherwise}")


def _map(said: Mapping[str, Any]) -> NDArray[np.float32]:
    """Return the values of an answer's first map."""
    saliency = said["explanations"][0]["saliency"]
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(saliency["data"]))), np.float32)
    low, high = float(saliency["min"]), float(saliency["max"])
    return (low + pixels / 255 * (high - low)).astype(np.float32)


def _error(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    """Return the relative error in norm."""
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


def _likely(ours: Mapping[str, float], theirs: Mapping[str, float]) -> bool:
    """Tell whether both name the same best class, about as likely.

    A random network may find all classes alike to the last bit of float32: there is no best one to be named then.
    """
    (label, one), (other, two) = (max(each.items(), key=lambda pair: pair[1]) for each in (ours, theirs))
    tied = list(theirs.values()).count(two) > 1
    return (tied or label == other) and abs(one - two) < 1e-3


def _high_water(pid: int) -> int:
    """Return the peak resident memory of a process in bytes, 0 where the system does not tell."""
    status = Path(f"/proc/{pid}/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.is_file() else None
    return int(found[1]) * 1024 if found else 0
