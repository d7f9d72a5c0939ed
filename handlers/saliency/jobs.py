"""One query's way to its outcome: a generator that yields the rows it needs and returns what came of them."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from saliency.body import not_finite
from saliency.errors import RequestError
from saliency.evidence import judged
from saliency.explanation import Explanation, Prediction, Scalar, TargetMap, View
from saliency.image import Picture, project
from saliency.methods import METHODS
from saliency.methods.base import Maps, Shows, Subject
from saliency.model import Classifier
from saliency.objective import softmax
from saliency.options import Options
from saliency.quality import evidence
from saliency.reduce import reduced
from saliency.request import Query
from saliency.rows import Answer, Rows
from saliency.sanity import caution
from saliency.targets import ranking

Outcome = Explanation | tuple[Prediction, ...]
Job = Generator[Rows, Answer, Outcome]
MAP_OPTIONS = ("score", "reduce", "polarity", "space")


def job(query: Query, x: Tensor, classifier: Classifier) -> Job:
    """Yield the rows that a query needs, its input `x` [1, C, H, W] first; return its predictions or explanation."""
    if query.objective is None:
        answer = yield Rows(x)
        return Scores(answer.logits[0], classifier, query.picture).ranked(query.options.top_k)
    subject = Subject(x, query.objective, classifier.input, classifier.attention)
    if _scores_suffice(query.options):
        clean = yield Rows(x, query.objective, gradient=False)
        return _explanation(query, classifier, clean, None)
    steps = METHODS[query.options.method].function(subject, query.parameters)
    clean = answer = yield next(steps)
    while True:
        try:
            rows = steps.send(answer)
        except StopIteration as end:
            clean = end.value.clean or clean
            explanation = _explanation(query, classifier, clean, end.value)
            return (yield from _proved(explanation, query, subject, clean, end.value))
        answer = yield rows


def _scores_suffice(options: Options) -> bool:
    """Tell whether an answer says nothing that is found by making a map."""
    made = options.quality or METHODS[options.method].shows is Shows.INPUT
    return options.render == "none" and options.format == "json" and not made


def _proved(explanation: Explanation, query: Query, subject: Subject, clean: Answer, maps: Maps) -> Job:
    """Return the explanation, with the evidence beside each of its maps where that is asked for."""
    if not query.options.quality:
        return explanation
    found = yield from evidence(judged(query, subject, clean, maps))
    beside = tuple(replace(one, quality=quality) for one, quality in zip(explanation.maps, found, strict=True))
    return replace(explanation, maps=beside)


class Scores:
    """The clean picture's logits [K], as predictions; RequestError where they are not finite."""

    def __init__(self, logits: Tensor, classifier: Classifier, picture: Picture) -> None:
        values = logits.numpy().astype(np.float64)
        if not np.isfinite(values).all():
            raise _not_finite("the model's output", picture)
        self._logits = logits
        self._probabilities = softmax(values)
        self._names = classifier.labels.names

    def of(self, index: int) -> Prediction:
        """Return what the network says of one class."""
        return Prediction(index, self._names[index], float(self._probabilities[index]), float(self._logits[index]))

    def ranked(self, count: int) -> tuple[Prediction, ...]:
        """Return the `count` best classes, the best first."""
        return tuple(self.of(index) for index in ranking(self._logits, count))


def _explanation(query: Query, classifier: Classifier, clean: Answer, maps: Maps | None) -> Explanation:
    """Return the explanation of a query whose clean picture is row 0 of `clean`; without maps, its scores alone."""
    options, scores = query.options, Scores(clean.logits[0], classifier, query.picture)
    used = {name: getattr(options, name) for name in MAP_OPTIONS}
    parameters = asdict(query.parameters)  # type: ignore[call-overload]
    return Explanation(
        model=classifier.name,
        version=classifier.version,
        predictions=scores.ranked(options.top_k),
        maps=_target_maps(query, clean, scores, maps),
        method=options.method,
        parameters=cast(Mapping[str, Scalar], used | parameters),
        picture=query.picture,
        view=_view(options),
        format=options.format,
        shows=METHODS[options.method].shows,
        sanity=caution(classifier.self_check, options.method),
    )


def _view(options: Options) -> View:
    return View(options.render, options.space, options.colormap, options.alpha, options.clip, options.floor)


def _target_maps(query: Query, clean: Answer, scores: Scores, maps: Maps | None) -> tuple[TargetMap, ...]:
    """Return a map a target, with the score that it explains and what the method found."""
    pairs = clean.pairs[0]
    values = _values(query, maps) if maps else [np.zeros((0, 0), np.float32)] * len(pairs)
    findings = maps.findings if maps and maps.findings else ({},) * len(pairs)
    return tuple(
        TargetMap(
            target=scores.of(target),
            against=scores.of(against) if against >= 0 else None,
            saliency=value,
            findings={"score": float(score), **found},
        )
        for (target, against), value, score, found in zip(pairs, values, clean.scores[:, 0], findings, strict=True)
    )


def _values(query: Query, maps: Maps) -> Sequence[NDArray[np.float32]]:
    """Return the maps reduced, on the CPU, in the space asked for; RequestError where they are not finite."""
    options = query.options
    values = reduced(maps.values.float(), options.reduce, options.polarity).cpu().contiguous().numpy()
    if not np.isfinite(values).all():
        raise _not_finite("the saliency", query.picture)
    if options.space == "input":
        return list(values)
    return [project(value, query.picture.crop, *query.picture.original.size) for value in values]


def _not_finite(what: str, picture: Picture) -> RequestError:
    """Return the 500 of values that are not finite; for an input that was sent as it is, its sender's 400."""
    if picture.given is None:
        return not_finite(what)
    said = f"{what} for this input is not finite: are its values of the scale that the model was trained with?"
    return RequestError(400, "NonFiniteException", said, "inputs")
