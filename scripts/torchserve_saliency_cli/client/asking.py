"""Asking a served model for the explanations of a command line, and saving their maps."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torchserve_saliency.errors import RequestError, unreadable
from torchserve_saliency.methods import ALIASES, METHODS
from torchserve_saliency.methods.base import Shows
from torchserve_saliency.responses.display import PICTURE_SUFFIXES, DisplayedExplanation, picture_file, received_images
from torchserve_saliency.responses.explanation import View
from torchserve_saliency.responses.image_grid import concatenate
from torchserve_saliency.spelling import find_spelling
from torchserve_saliency_cli.client.client import Client
from torchserve_saliency_cli.client.errors import RefusedError, UnreachableError
from torchserve_saliency_cli.client.results import Result
from torchserve_saliency_cli.client.true_classes import TrueClass

DEFAULTS: Mapping[str, str] = {"render": "overlay", "caption": "true"}
TOO_LARGE = "ResponseTooLargeException"
GAP = 8
VIEW_OPTIONS = frozenset(View.__dataclass_fields__) - {"space"}


@dataclass(frozen=True)
class Job:
    """A picture, or None for a method that makes one, the file for its map, and its true class if it is known."""

    picture: Path | None
    out: Path
    true_class: TrueClass | None = None


@dataclass
class Service:
    """A model of a server, with the options of the command line.

    `defaults` are options that the command adds; those that a method or an older archive refuses are dropped.
    """

    client: Client
    model: str
    version: str | None
    options: Mapping[str, str]
    wrong_only: bool = False
    defaults: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Choose the defaults that fit the method."""
        self.defaults = {name: value for name, value in DEFAULTS.items() if name not in self.options}
        if shows(self.options.get("method")) is not Shows.SALIENCY:
            self.defaults.pop("render", None)

    def class_of(self, picture: bytes, name: str) -> tuple[int, str]:
        """Return the index and the label of the class that a name means."""
        found = self._send(picture, {**self._head(), "target": name, "render": "none", "top_k": "1"})
        return found.maps[0].target.index, found.maps[0].target.label

    def results(self, jobs: Sequence[Job], parallel: int) -> Iterator[Result]:
        """Yield the results in the order of the jobs; raise UnreachableError without an answer."""
        with ThreadPoolExecutor(max(1, parallel)) as pool:
            try:
                yield from pool.map(self.result, jobs)
            finally:
                pool.shutdown(cancel_futures=True)

    def result(self, job: Job) -> Result:
        """Return the result of a job, and save its map. With `wrong_only`, a right prediction is not explained."""
        began = time.perf_counter()
        try:
            if self.wrong_only and job.true_class is not None:
                prediction = self._send(job.picture, {**self._head(), "render": "none", "top_k": "1"})
                known = Result(job.picture, prediction, job.true_class, None, time.perf_counter() - began)
                if known.right is not False:
                    return known
            explanation, drawn = self._explained(job.picture)
        except UnreachableError:
            raise
        except RequestError as error:
            return Result(job.picture, error, job.true_class, None, time.perf_counter() - began)
        except OSError as error:
            return Result(job.picture, unreadable(error), job.true_class, None, time.perf_counter() - began)
        seconds = time.perf_counter() - began
        return Result(job.picture, explanation, job.true_class, save(explanation, drawn, job.out), seconds)

    def _head(self) -> dict[str, str]:
        """Return the options that the predictions depend on."""
        return {"head": self.options["head"]} if "head" in self.options else {}

    def _explained(self, picture: Path | None) -> tuple[DisplayedExplanation, dict[str, Any]]:
        """Return the explanation of a picture, and the view that it is to be drawn with here, if the server did not.

        A default that the server refuses is dropped. If the answer is too large with the drawn picture, the map alone
        is asked for.
        """
        while True:
            added = dict(self.defaults)
            sent = {**added, **self.options}
            view = {name: value for name, value in sent.items() if name in VIEW_OPTIONS}
            try:
                return self._send(picture, sent), view if sent.get("render") == "heatmap" else {}
            except RefusedError as error:
                if error.status == 400 and error.option in added:
                    self.defaults.pop(error.option, None)
                elif error.type == TOO_LARGE and sent.get("render", "none") not in ("none", "heatmap"):
                    others = {name: value for name, value in self.options.items() if name not in VIEW_OPTIONS}
                    return self._send(picture, {**others, "render": "heatmap"}), view
                else:
                    raise

    def _send(self, picture: Path | bytes | None, options: Mapping[str, str]) -> DisplayedExplanation:
        return self.client.explain(picture, model=self.model, version=self.version, **options)


def shows(method: str | None) -> Shows:
    """Return the kind of maps of a method; that of an unknown method is saliency."""
    name = find_spelling(method, METHODS, ALIASES) if method else None
    return METHODS[name].shows if name else Shows.SALIENCY


def save(explanation: DisplayedExplanation, view: Mapping[str, Any], out: Path) -> Path | None:
    """Write the map to a file by its suffix, and return its path; without a map, return None.

    The pictures of the server are written if it has drawn any, else they are drawn here.
    """
    if not explanation.has_maps:
        return None
    if out.suffix.lower() not in PICTURE_SUFFIXES:
        return explanation.save(out)
    pictures = [] if view else list(received_images(explanation))
    if not pictures:
        chosen = dict(view) if explanation.shows is Shows.SALIENCY else {}
        pictures = [explanation.image(index=index, **chosen) for index in range(len(explanation.maps))]
    data = picture_file(concatenate(pictures, GAP), out.suffix)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(data)
    return out
