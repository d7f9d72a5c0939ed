"""Queries to explanations: each query is a generator of rows, and all of them are driven together, wave by wave."""

from __future__ import annotations

import logging
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import cast

import torch
from PIL import Image

from saliency.crew import Crew
from saliency.errors import ModelError, RequestError, refused
from saliency.explanation import Explanation
from saliency.inputs import network_inputs
from saliency.jobs import Job, Outcome, job
from saliency.message import Message
from saliency.methods.layers import LayerNames, names
from saliency.model import Classifier, load_classifier
from saliency.options import read_defaults
from saliency.pace import Pace
from saliency.pool import Pool
from saliency.request import Query, read_query
from saliency.rows import Answer, Rows

logger = logging.getLogger(__name__)
Progress = Callable[[int], None]
Data = str | Path | bytes  # where a picture lies, or the picture's bytes


class Run:
    """A batch of queries under way; a query that was refused keeps its place."""

    def __init__(self, explainer: Explainer, queries: Sequence[Query | RequestError]) -> None:
        self._explainer = explainer
        self._outcomes: list[Outcome | RequestError | None] = [
            q if isinstance(q, RequestError) else None for q in queries
        ]
        self._jobs: dict[int, Job] = {}
        self._pool: Pool | None = None
        self._begin({i: q for i, q in enumerate(queries) if isinstance(q, Query)})

    def _begin(self, queries: Mapping[int, Query]) -> None:
        """Bring the pictures to the network's device, and make ready what their jobs ask for first."""
        classifier = self._explainer.classifier
        try:
            inputs = network_inputs([query.picture for query in queries.values()], classifier.device)
        except Exception as error:
            self._outcomes = [outcome or refused(error, "the transfer") for outcome in self._outcomes]
            return
        self._jobs = {i: job(q, x, classifier) for (i, q), x in zip(queries.items(), inputs, strict=True)}
        self._wave({i: self._advance(i, None) for i in self._jobs})

    def _wave(self, asked: Mapping[int, Rows | None]) -> None:
        """Make ready what the jobs that have not ended ask for next."""
        rows = {owner: each for owner, each in asked.items() if each is not None}
        self._owners = list(rows)
        self._pool = Pool(self._explainer.classifier, list(rows.values()), self._explainer.capacity) if rows else None

    def forward(self) -> Run:
        """Run the clean pictures forward."""
        if self._pool:
            self._pool.forward()
        return self

    def finish(self, progress: Progress | None = None) -> list[Outcome | RequestError]:
        """Run everything that is left, backward passes first, and return the outcomes in the queries' order."""
        rows = 0
        while self._pool:
            pool = self._pool
            answers = zip(self._owners, pool.answers(), strict=True)
            self._wave({owner: self._advance(owner, answer) for owner, answer in answers})
            rows += pool.rows
            if progress:
                progress(rows)
        return [cast(Outcome | RequestError, outcome) for outcome in self._outcomes]

    def _advance(self, owner: int, answer: Answer | RequestError | None) -> Rows | None:
        """Hand a job its answer (None begins it); return the rows that it asks for next, None where it has ended."""
        try:
            if isinstance(answer, RequestError):
                raise answer
            return self._jobs[owner].send(cast(Answer, answer))
        except StopIteration as end:
            self._outcomes[owner] = end.value
        except Exception as error:  # whatever befalls a job is its own
            self._outcomes[owner] = refused(error, "the explanation")
        return None


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

    def read(self, message: Message) -> Query | RequestError:
        """Return a message's query with its picture decoded, or its refusal."""
        try:
            return read_query(message, self.classifier)
        except Exception as error:
            return refused(error, "the reading")

    def begin(self, queries: Sequence[Query | RequestError]) -> Run:
        """Return the run of a batch, not yet forward."""
        return Run(self, queries)


def _default_layers(classifier: Classifier) -> tuple[str, ...]:
    """Return the layers that the archive names."""
    layer = classifier.defaults.get("layer")
    return () if layer is None else names(LayerNames().read(layer))
