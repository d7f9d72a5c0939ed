"""The engine's interface: load a model, explain one picture, or run the queries of a batch together."""

from __future__ import annotations

import logging
import math
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Any, cast

import torch
from PIL import Image
from torch import nn

from torchserve_saliency.engine.metrics import BatchMetrics
from torchserve_saliency.engine.scheduler import Progress, Scheduler
from torchserve_saliency.engine.worker import WorkerThreads
from torchserve_saliency.errors import ModelError, RequestError, to_request_error
from torchserve_saliency.images.picture_kinds import PictureLike
from torchserve_saliency.images.pixel_modes import CHANNELS
from torchserve_saliency.jobs import Job, job, network_inputs
from torchserve_saliency.methods.activation.layer_options import LayerNames, layer_names
from torchserve_saliency.model.classifier import Classifier, load_classifier, noise
from torchserve_saliency.model.in_memory import LabelSource, classifier_in_memory, input_spec
from torchserve_saliency.quality.sanity import cautions
from torchserve_saliency.requests.message import Message
from torchserve_saliency.requests.parsing import read_defaults
from torchserve_saliency.requests.python_message import message_or_error, python_message
from torchserve_saliency.requests.query import Query, read_query
from torchserve_saliency.responses.display import DisplayedExplanation, displayed
from torchserve_saliency.responses.explanation import Explanation, Outcome

logger = logging.getLogger(__name__)


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
        served = math.isfinite(deadline)
        seconds = {i: query.max_seconds for i, query in enumerate(queries) if served and isinstance(query, Query)}
        self._scheduler = Scheduler(explainer.classifier, explainer.capacity, jobs, deadline, metrics, seconds)

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

    In a notebook: `Explainer.load("model.mar").explain("owl.jpg", target="great grey owl")`, or `Explainer.of(network)`
    for a network in memory.
    """

    def __init__(self, classifier: Classifier) -> None:
        _check_defaults(classifier)
        self.classifier = classifier
        self.capacity = classifier.capacity()
        self.threads = WorkerThreads(torch.get_num_threads())
        self._cautions = cautions(classifier.self_check)

    @classmethod
    def load(cls, path: str | Path, device: str = "cpu") -> Explainer:
        """Load an archive: a .mar file, or the folder of an unpacked one. Raise ModelError if it is none."""
        if Path(path).is_dir():
            return cls(load_classifier(Path(path), torch.device(device)))
        try:
            with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(path) as archive:
                archive.extractall(folder)
                return cls(load_classifier(Path(folder), torch.device(device)))
        except zipfile.BadZipFile as error:
            raise ModelError(f"{path} is no archive; for a network in memory, use Explainer.of(network)") from error

    @classmethod
    def of(
        cls,
        network: nn.Module,
        *,
        labels: LabelSource | None = None,
        size: int | Sequence[int] = 224,
        resize: int | Sequence[int] | None = None,
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
        activation: str | None = None,
        logits: str | int | None = None,
        device: str | torch.device | None = None,
        **preprocessing: Any,
    ) -> Explainer:
        """Return an explainer of a network in memory. The network is copied, and left as it is.

        - `labels`: the names of the classes, a list or the path of a file; without it, they are numbered.
        - `size`, `resize`, `mean`, `std`: the preprocessing of pictures; by default that of ImageNet. `size` is one
          side, or height and width. `resize` is the shorter side, or height and width, before the crop to `size`; by
          default 256/224 of the size. `preprocessing` are further values of an archive's section `input`.
        - `activation`: `softmax`, `sigmoid` or `none`; see docs/archive.md.
        - `logits`: the output to explain, if the network has several.
        - `device`: by default that of the network.

        Raise ModelError if the network cannot be copied or run, or if the values do not fit it.
        """
        spec = input_spec(size, resize, mean, std, preprocessing)
        return cls(classifier_in_memory(network, labels, spec, activation, logits, device))

    def explain(
        self, picture: PictureLike | None = None, *, on_progress: Progress | None = None, **options: object
    ) -> DisplayedExplanation:
        """Return the explanation of a picture; raise RequestError if the picture or an option is invalid.

        The picture is a path, bytes, an open file, a PIL.Image, a numpy array or a torch tensor; see
        `images.picture_kinds.read_kind`. Omit it for a method that creates one. `on_progress` is called after each
        round of forward and backward passes with the number of rows evaluated so far.
        """
        query = read_query(python_message(picture, options, self.classifier.input), self.classifier)
        (outcome,) = self.begin([query]).finish(on_progress)
        if isinstance(outcome, RequestError):
            raise outcome
        return displayed(cast(Explanation, outcome))

    def explain_many(
        self, pictures: Iterable[PictureLike], *, on_progress: Progress | None = None, **options: object
    ) -> list[DisplayedExplanation | RequestError]:
        """Return the explanation of each picture, in order; the pictures are evaluated together in batches.

        If a picture or its options are invalid, its place in the list has the RequestError, and the others are not
        affected. `on_progress` is called after each batch with the number of pictures done.
        """
        if isinstance(pictures, str | bytes | bytearray | PathLike | Image.Image):
            raise TypeError("explain_many takes a list of pictures; use explain for one")
        done: list[DisplayedExplanation | RequestError] = []
        for chunk in _chunks(pictures, max(1, self.capacity)):
            messages = [message_or_error(picture, options, self.classifier.input) for picture in chunk]
            outcomes = self.begin(self.threads.each(self.read, messages)).finish()
            done += [one if isinstance(one, RequestError) else displayed(cast(Explanation, one)) for one in outcomes]
            if on_progress:
                on_progress(len(done))
        return done

    def warm_up(self, rows: int) -> None:
        """Explain one picture, then `rows` of them together, so that no request waits for one-time initialisation."""
        file = BytesIO()
        Image.effect_noise((64, 64), 64).convert("RGB").save(file, "JPEG")
        message: Message | RequestError = Message({"data": file.getvalue()}, explain=True)
        if self.classifier.input.channels not in CHANNELS:
            message = python_message(noise(self.classifier.input, 1)[0], {}, self.classifier.input)
        for count in {1, max(1, rows)}:
            queries = self.threads.each(self.read, [message] * count)
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

        No batch of rows is begun once `time.monotonic()` has reached `deadline`; unfinished queries then fail with 503.
        With a deadline, a query also fails, with 504, if it uses more processor time than `max_seconds` of the archive.
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


def _chunks(items: Iterable[PictureLike], size: int) -> Iterator[list[PictureLike]]:
    """Yield the items in lists of up to `size`."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def _check_defaults(classifier: Classifier) -> None:
    """Raise ModelError if a default of the archive is invalid, or names a layer or a head that does not exist."""
    try:
        read_defaults(classifier.defaults)
        classifier.heads.find(cast("str | int | None", classifier.defaults.get("head")))
    except RequestError as error:
        raise ModelError(f"a default of the archive is wrong: {error.message}") from error
    layer = classifier.defaults.get("layer")
    names = () if layer is None else layer_names(LayerNames().read(layer))
    missing = [name for name in names if name not in classifier.layers.names]
    if missing:
        raise ModelError(f"a default of the archive is wrong: there is no layer '{missing[0]}' with spatial extent")
