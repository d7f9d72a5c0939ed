"""Queries to explanations: each query is a generator of rows, and all of them are driven together, wave by wave."""

from __future__ import annotations

import logging
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import cast

import torch
from PIL import Image

from saliency.crew import Crew
from saliency.deadline import NEVER, Deadline
from saliency.errors import ModelError, RequestError, refused
from saliency.explanation import Explanation
from saliency.inputs import network_inputs
from saliency.jobs import Job, Outcome, job
from saliency.measures import Measures
from saliency.message import Message
from saliency.methods.layers import LayerNames, names
from saliency.model import Classifier, load_classifier
from saliency.pace import Pace
from saliency.reading import read_defaults
from saliency.request import Query, read_query
from saliency.waves import Progress, Waves

logger = logging.getLogger(__name__)
Data = str | Path | bytes  # where a picture lies, or the picture's bytes


class Run:
    """A batch of queries under way; a query that was refused keeps its place."""

    def __init__(
        self, explainer: Explainer, queries: Sequence[Query | RequestError], deadline: Deadline, measures: Measures
    ) -> None:
        self.queries = queries
        self.deadline = deadline
        self.measures = measures
        self._outcomes: list[Outcome | RequestError | None] = [
            q if isinstance(q, RequestError) else None for q in queries
        ]
        jobs: Mapping[int, Job] = {}
        try:
            jobs = _jobs({i: q for i, q in enumerate(queries) if isinstance(q, Query)}, explainer.classifier)
        except Exception as error:
            self._outcomes = [outcome or refused(error, "the transfer") for outcome in self._outcomes]
        self._waves = Waves(explainer.classifier, explainer.capacity, jobs, deadline, measures)

    def forward(self) -> Run:
        """Run the clean pictures forward."""
        self._waves.forward()
        return self

    def finish(self, progress: Progress | None = None) -> list[Outcome | RequestError]:
        """Run everything that is left, backward passes first, and return the outcomes in the queries' order."""
        for owner, outcome in self._waves.finish(progress).items():
            self._outcomes[owner] = refused(outcome, "the explanation") if isinstance(outcome, Exception) else outcome
        return [cast(Outcome | RequestError, outcome) for outcome in self._outcomes]


def _jobs(queries: Mapping[int, Query], classifier: Classifier) -> dict[int, Job]:
    """Return the queries' jobs, their pictures on the network's device."""
    inputs = network_inputs([query.picture for query in queries.values()], classifier.device)
    return {i: job(query, x, classifier) for (i, query), x in zip(queries.items(), inputs, strict=True)}


class Explainer:
    """Explains pictures with a classifier.

    `Explainer.load("model.mar").explain("owl.jpg", target="great grey owl")` is the whole of it in a notebook.
    """

    def __init__(self, classifier: Classifier) -> None:
        try:
            read_defaults(classifier.defaults)
        except RequestError as error:
            raise ModelError(f"a default of the archive is wrong: {error.message}") from error
        wrong = [name for name in _default_layers(classifier) if name not in classifier.layers.names]
        if wrong:
            raise ModelError(f"a default of the archive is wrong: there is no layer '{wrong[0]}' with spatial extent")
        self.classifier = replace(classifier, pace=Pace(classifier.forward_plain, classifier.row()))
        self.capacity = classifier.capacity()
        self.crew = Crew(torch.get_num_threads())

    @classmethod
    def load(cls, path: str | Path, device: str = "cpu") -> Explainer:
        """Return the explainer of an archive: a .mar file or the folder of an unpacked one."""
        if Path(path).is_dir():
            return cls(load_classifier(Path(path), torch.device(device)))
        with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
            return cls(load_classifier(Path(folder), torch.device(device)))

    def explain(self, image: Data | None = None, **options: object) -> Explanation:
        """Return a picture's explanation; RequestError says what is wrong with the picture or an option.

        A method that makes a picture is given none.
        """
        return self.explain_watched(None, image, **options)

    def explain_watched(self, progress: Progress | None, image: Data | None = None, **options: object) -> Explanation:
        """Return a picture's explanation; `progress` is told again and again how many rows the network has seen."""
        data = Path(image).read_bytes() if isinstance(image, str | Path) else image
        fields = options if data is None else {"data": data, **options}
        query = read_query(Message(fields, explain=True), self.classifier)
        (outcome,) = self.begin([query]).finish(progress)
        if isinstance(outcome, RequestError):
            raise outcome
        return cast(Explanation, outcome)

    def warm_up(self, rows: int) -> None:
        """Explain a picture, and `rows` of them together, so that no request pays for what happens once."""
        file = BytesIO()
        Image.effect_noise((64, 64), 64).convert("RGB").save(file, "JPEG")
        for count in {1, max(1, rows)}:
            queries = self.crew.each(self.read, [Message({"data": file.getvalue()}, explain=True)] * count)
            for outcome in self.begin(queries).finish():
                if isinstance(outcome, RequestError):
                    logger.warning("a picture of noise could not be explained: %s", outcome.message)

    def read(self, message: Message | RequestError) -> Query | RequestError:
        """Return a message's query with its picture decoded, or its refusal, which may have come before it."""
        if isinstance(message, RequestError):
            return message
        try:
            return read_query(message, self.classifier)
        except Exception as error:
            return refused(error, "the reading")

    def begin(
        self,
        queries: Sequence[Query | RequestError],
        deadline: Deadline = NEVER,
        measures: Measures | None = None,
    ) -> Run:
        """Return the run of a batch, not yet forward; what it has not begun by the deadline is refused.

        What it does is added to `measures`.
        """
        return Run(self, queries, deadline, measures or Measures())


def _default_layers(classifier: Classifier) -> tuple[str, ...]:
    """Return the layers that the archive names."""
    layer = classifier.defaults.get("layer")
    return () if layer is None else names(LayerNames().read(layer))
