"""Queries to explanations: each query is a generator of rows, and all of them are driven together, wave by wave."""

from __future__ import annotations

import math
import tempfile
import zipfile
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from saliency.engine import Answer, Rows
from saliency.errors import ModelError, RequestError
from saliency.explanation import Explanation, Prediction, Scalar, TargetMap, View
from saliency.image import project
from saliency.labels import Labels
from saliency.memory import capacity
from saliency.methods import METHODS
from saliency.methods.base import Maps, Subject
from saliency.model import Classifier, load_classifier
from saliency.objective import Pairs
from saliency.options import read_defaults
from saliency.pool import Pool
from saliency.reduce import reduced
from saliency.request import Message, Query, read_query

Outcome = Explanation | tuple[Prediction, ...]
Job = Generator[Rows, Answer, Outcome]


class Run:
    """A batch of queries under way; a query that was refused keeps its place."""

    def __init__(self, explainer: Explainer, queries: Sequence[Query | RequestError]) -> None:
        self._explainer = explainer
        self._outcomes: list[Outcome | RequestError | None] = [
            q if isinstance(q, RequestError) else None for q in queries
        ]
        self._jobs: dict[int, Job] = {i: explainer.job(q) for i, q in enumerate(queries) if isinstance(q, Query)}
        self._pool: Pool | None = None
        self._wave({i: next(job) for i, job in self._jobs.items()})

    def _wave(self, asked: Mapping[int, Rows]) -> None:
        """Make ready what the jobs ask for next."""
        self._owners = list(asked)
        self._pool = Pool(self._explainer.classifier, list(asked.values()), self._explainer.capacity) if asked else None

    def forward(self) -> Run:
        """Run the clean pictures forward."""
        if self._pool:
            self._pool.forward()
        return self

    def finish(self) -> list[Outcome | RequestError]:
        """Run everything that is left, backward passes first, and return the outcomes in the queries' order."""
        while self._pool:
            answers = zip(self._owners, self._pool.answers(), strict=True)
            asked = {owner: self._advance(owner, answer) for owner, answer in answers}
            self._wave({owner: rows for owner, rows in asked.items() if rows is not None})
        return [cast(Outcome | RequestError, outcome) for outcome in self._outcomes]

    def _advance(self, owner: int, answer: Answer | RequestError) -> Rows | None:
        """Hand a job its answer and return the rows that it asks for next, None where it has ended."""
        try:
            if isinstance(answer, RequestError):
                raise answer
            return self._jobs[owner].send(answer)
        except StopIteration as end:
            self._outcomes[owner] = end.value
        except RequestError as error:
            self._outcomes[owner] = error
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
        self.classifier = classifier
        self.capacity = capacity(classifier)

    @classmethod
    def load(cls, path: str | Path, device: str = "cpu") -> Explainer:
        """Return the explainer of an archive: a .mar file or the folder of an unpacked one."""
        if Path(path).is_dir():
            return cls(load_classifier(Path(path), torch.device(device)))
        with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
            return cls(load_classifier(Path(folder), torch.device(device)))

    def explain(self, image: str | Path | bytes, **options: object) -> Explanation:
        """Return a picture's explanation; RequestError says what is wrong with the picture or an option."""
        data = image if isinstance(image, bytes) else Path(image).read_bytes()
        query = read_query(Message({"data": data, **options}, explain=True), self.classifier)
        (outcome,) = self.begin([query]).finish()
        if isinstance(outcome, RequestError):
            raise outcome
        return cast(Explanation, outcome)

    def begin(self, queries: Sequence[Query | RequestError]) -> Run:
        """Return the run of a batch, not yet forward."""
        return Run(self, queries)

    def job(self, query: Query) -> Job:
        """Yield the rows that a query needs, and return its predictions or its explanation."""
        x = query.picture.tensor[None]
        if query.objective is None:
            return self._predict(Rows(x), query)
        return self._explain(Subject(x, query.objective, self.classifier.input), query)

    def _predict(self, rows: Rows, query: Query) -> Job:
        answer = yield rows
        return self._ranked(_finite(answer.logits[0]), query.options.top_k)

    def _explain(self, subject: Subject, query: Query) -> Job:
        if query.options.render == "none" and query.options.format == "json":
            clean = yield Rows(subject.x, subject.objective, gradient=False)
            return self._explanation(query, clean, None)
        steps = METHODS[query.options.method].function(subject, query.parameters)
        clean = answer = yield next(steps)
        _finite(clean.logits[0])
        while True:
            try:
                rows = steps.send(answer)
            except StopIteration as end:
                return self._explanation(query, clean, end.value)
            answer = yield rows

    def _explanation(self, query: Query, clean: Answer, maps: Maps | None) -> Explanation:
        """Return the explanation of a query whose clean picture is the first row of `clean`."""
        options, logits = query.options, _finite(clean.logits[0])
        parameters = asdict(query.parameters)  # type: ignore[call-overload]
        used = {name: getattr(options, name) for name in ("score", "reduce", "polarity", "space")}
        return Explanation(
            model=self.classifier.name,
            version=self.classifier.version,
            predictions=self._ranked(logits, options.top_k),
            maps=self._target_maps(query, clean, logits, maps),
            method=options.method,
            parameters=cast(Mapping[str, Scalar], used | parameters),
            picture=query.picture,
            view=View(options.render, options.space, options.colormap, options.alpha, options.clip, options.floor),
            format=options.format,
        )

    def _target_maps(self, query: Query, clean: Answer, logits: Tensor, maps: Maps | None) -> tuple[TargetMap, ...]:
        """Return a map a target, reduced and in the space asked for."""
        pairs: Pairs = clean.pairs[0]
        probabilities = torch.softmax(logits.double(), 0)
        values = self._values(query, maps, len(pairs))
        findings = maps.findings if maps and maps.findings else ({},) * len(pairs)
        return tuple(
            TargetMap(
                target=self._prediction(target, logits, probabilities),
                against=self._prediction(against, logits, probabilities) if against >= 0 else None,
                saliency=value,
                findings={"score": float(score), **found},
            )
            for (target, against), value, score, found in zip(pairs, values, clean.scores[:, 0], findings, strict=True)
        )

    @staticmethod
    def _values(query: Query, maps: Maps | None, targets: int) -> Sequence[np.ndarray]:
        """Return the arrays of the maps: float32, on the CPU."""
        if maps is None:
            return [np.zeros((0, 0), np.float32)] * targets
        options = query.options
        values = reduced(maps.values.float(), options.reduce, options.polarity).cpu().contiguous().numpy()
        if not np.isfinite(values).all():
            raise RequestError(500, "NonFiniteException", "the saliency of this picture is not finite")
        if options.space == "input":
            return list(values)
        picture = query.picture
        return [project(value, picture.crop, *picture.original.size) for value in values]

    def _ranked(self, logits: Tensor, count: int) -> tuple[Prediction, ...]:
        """Return the `count` best classes of logits [K]."""
        probabilities = torch.softmax(logits.double(), 0)
        best = torch.topk(logits, min(count, len(logits))).indices.tolist()
        return tuple(self._prediction(index, logits, probabilities) for index in best)

    def _prediction(self, index: int, logits: Tensor, probabilities: Tensor) -> Prediction:
        labels: Labels = self.classifier.labels
        return Prediction(index, labels.names[index], float(probabilities[index]), float(logits[index]))


def _finite(logits: Tensor) -> Tensor:
    """Return the logits if every one is finite, else raise a RequestError 500."""
    if not math.isfinite(float(logits.sum())) and not bool(torch.isfinite(logits).all()):
        raise RequestError(500, "NonFiniteException", "the model's output for this picture is not finite")
    return logits
