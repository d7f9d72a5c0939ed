"""The engine's interface: load a model, explain one picture, or run the queries of a batch together."""

from __future__ import annotations

import logging
import math
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import cast

import torch
from PIL import Image

from torchserve_saliency.engine.metrics import BatchMetrics
from torchserve_saliency.engine.scheduler import Progress, Scheduler
from torchserve_saliency.engine.worker import WorkerThreads
from torchserve_saliency.errors import ModelError, RequestError, to_request_error
from torchserve_saliency.jobs import Job, job, network_inputs
from torchserve_saliency.methods.activation.layer_options import LayerNames, layer_names
from torchserve_saliency.model.acceleration.time_per_pass import TimePerPass
from torchserve_saliency.model.classifier import Classifier, load_classifier
from torchserve_saliency.quality.sanity import cautions
from torchserve_saliency.requests.message import Message
from torchserve_saliency.requests.parsing import read_defaults
from torchserve_saliency.requests.query import Query, read_query
from torchserve_saliency.responses.explanation import Explanation, Outcome

logger = logging.getLogger(__name__)
PictureData = str | Path | bytes
"""The path of a picture, or the bytes of its file."""


class Run:
    """The queries of one batch: call `forward`, then `finish`; an error among them keeps its place in the outcomes."""

    def __init__(
        self, explainer: Explainer, queries: Sequence[Query | RequestError], deadline: float, metrics: BatchMetrics
    ) -> None:
        self.queries = queries
        self.deadline = deadline
        self.metrics = metrics
        self._outcomes: list[Outcome | RequestError | None] = [
            query if isinstance(query, RequestError) else None for query in queries
        ]
        jobs: Mapping[int, Job] = {}
        try:
            jobs = explainer.jobs({i: query for i, query in enumerate(queries) if isinstance(query, Query)})
        except Exception as error:
            self._outcomes = [outcome or to_request_error(error, "the transfer") for outcome in self._outcomes]
        self._scheduler = Scheduler(explainer.classifier, explainer.capacity, jobs, deadline, metrics)

    def forward(self) -> Run:
        """Run the original pictures forward."""
        self._scheduler.forward()
        return self

    def finish(self, progress: Progress | None = None) -> list[Outcome | RequestError]:
        """Run the backward passes and all further rounds, and return the outcomes in the order of the queries."""
        for index, outcome in self._scheduler.finish(progress).items():
            if isinstance(outcome, Exception):
                outcome = to_request_error(outcome, "the explanation")
            self._outcomes[index] = outcome
        return [cast(Outcome | RequestError, outcome) for outcome in self._outcomes]


class Explainer:
    """Explains pictures with a classifier.

    In a notebook: `Explainer.load("model.mar").explain("owl.jpg", target="great grey owl")`.
    """

    def __init__(self, classifier: Classifier) -> None:
        _check_defaults(classifier)
        time_per_pass = TimePerPass(classifier.forward_plain, classifier.row())
        self.classifier = replace(classifier, time_per_pass=time_per_pass)
        self.capacity = classifier.capacity()
        self.threads = WorkerThreads(torch.get_num_threads())
        self._cautions = cautions(classifier.self_check)

    @classmethod
    def load(cls, path: str | Path, device: str = "cpu") -> Explainer:
        """Load an archive: a .mar file, or the folder of an unpacked one."""
        if Path(path).is_dir():
            return cls(load_classifier(Path(path), torch.device(device)))
        with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
            return cls(load_classifier(Path(folder), torch.device(device)))

    def explain(
        self, picture: PictureData | None = None, *, on_progress: Progress | None = None, **options: object
    ) -> Explanation:
        """Return the explanation of a picture; raise RequestError if the picture or an option is invalid.

        Omit the picture for a method that creates one. `on_progress` is called after each round of forward and
        backward passes with the number of rows evaluated so far.
        """
        data = Path(picture).read_bytes() if isinstance(picture, str | Path) else picture
        fields = options if data is None else {"data": data, **options}
        query = read_query(Message(fields, explain=True), self.classifier)
        (outcome,) = self.begin([query]).finish(on_progress)
        if isinstance(outcome, RequestError):
            raise outcome
        return cast(Explanation, outcome)

    def warm_up(self, rows: int) -> None:
        """Explain one picture, then `rows` of them together, so that no request waits for one-time initialisation."""
        file = BytesIO()
        Image.effect_noise((64, 64), 64).convert("RGB").save(file, "JPEG")
        for count in {1, max(1, rows)}:
            queries = self.threads.each(self.read, [Message({"data": file.getvalue()}, explain=True)] * count)
            for outcome in self.begin(queries).finish():
                if isinstance(outcome, RequestError):
                    logger.warning("the warm-up could not explain a picture of noise: %s", outcome.message)

    def read(self, message: Message | RequestError) -> Query | RequestError:
        """Return the query of a message, with its picture decoded, or its error; an error is returned unchanged."""
        if isinstance(message, RequestError):
            return message
        try:
            return read_query(message, self.classifier)
        except Exception as error:
            return to_request_error(error, "the reading")

    def begin(
        self,
        queries: Sequence[Query | RequestError],
        deadline: float = math.inf,
        metrics: BatchMetrics | None = None,
    ) -> Run:
        """Return the run of a batch; no forward pass has been made yet.

        No batch of rows is begun once `time.monotonic()` has reached `deadline`; unfinished queries then fail.
        Seconds and counts are added to `metrics`.
        """
        return Run(self, queries, deadline, metrics or BatchMetrics())

    def jobs(self, queries: Mapping[int, Query]) -> dict[int, Job]:
        """Return the jobs of queries, with their pictures on the network's device."""
        inputs = network_inputs([query.picture for query in queries.values()], self.classifier.device)
        return {
            i: job(query, x, self.classifier, self._cautions)
            for (i, query), x in zip(queries.items(), inputs, strict=True)
        }


def _check_defaults(classifier: Classifier) -> None:
    """Raise ModelError if a default of the archive is invalid, or names a layer that does not exist."""
    try:
        read_defaults(classifier.defaults)
    except RequestError as error:
        raise ModelError(f"a default of the archive is wrong: {error.message}") from error
    layer = classifier.defaults.get("layer")
    names = () if layer is None else layer_names(LayerNames().read(layer))
    missing = [name for name in names if name not in classifier.layers.names]
    if missing:
        raise ModelError(f"a default of the archive is wrong: there is no layer '{missing[0]}' with spatial extent")
