"""A job per query: a generator that yields the rows to evaluate and returns the predictions or the explanation."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchserve_saliency.engine.objective import ranking, softmax
from torchserve_saliency.engine.rows import Answer, Rows, resume
from torchserve_saliency.errors import RequestError
from torchserve_saliency.images.preprocessing import Picture, normalise, project
from torchserve_saliency.map_quality import map_quality
from torchserve_saliency.methods import METHODS
from torchserve_saliency.methods.base import Maps, Shows, Subject
from torchserve_saliency.methods.reduction import reduced
from torchserve_saliency.model.classifier import Classifier
from torchserve_saliency.requests.options import Options
from torchserve_saliency.requests.query import Query
from torchserve_saliency.responses.explanation import Explanation, Outcome, Prediction, Scalar, TargetMap, View
from torchserve_saliency.responses.json_body import not_finite

Job = Generator[Rows, Answer, Outcome]
MAP_OPTIONS = ("score", "reduce", "polarity", "space")


def network_inputs(pictures: Sequence[Picture], device: torch.device) -> list[Tensor]:
    """Return each picture as an input [1, C, H, W] on the device.

    A GPU receives the pixels of all pictures as bytes, in one transfer from pinned memory, and normalises them.
    """
    uploaded = [] if device.type == "cpu" else [picture for picture in pictures if picture.given is None]
    rows = iter(upload(uploaded, device).split(1) if uploaded else ())
    return [next(rows) if uploaded and p.given is None else p.tensor[None].to(device) for p in pictures]


def upload(pictures: Sequence[Picture], device: torch.device) -> Tensor:
    """Return pictures of the same size as a batch [n, C, H, W], sent to the device as bytes and normalised there."""
    shape = (len(pictures), *pictures[0].pixels.shape)
    staged = torch.empty(shape, dtype=torch.uint8, pin_memory=device.type == "cuda")
    torch.stack([torch.from_numpy(picture.pixels) for picture in pictures], out=staged)
    return normalise(staged.to(device, non_blocking=True), pictures[0].spec)


def job(query: Query, x: Tensor, classifier: Classifier, cautions: Mapping[str, str]) -> Job:
    """Yield the rows to evaluate for a query, its input `x` [1, C, H, W] first; return predictions or an explanation.

    `cautions` holds a warning for each method that failed the archive's sanity check.
    """
    if query.objective is None:
        answer = yield Rows(x)
        return ClassScores(answer.logits[0], classifier, query.picture).top(query.options.top_k)
    subject = Subject(x, query.objective, classifier.input, classifier.attention)
    caution = cautions.get(query.options.method)
    if not _needs_maps(query.options):
        clean = yield Rows(x, query.objective, gradient=False)
        return _explanation(query, classifier, caution, clean, None)
    steps = METHODS[query.options.method].function(subject, query.parameters)
    first = yield next(steps)
    maps = yield from resume(steps, first)
    clean = maps.clean or first
    explanation = _explanation(query, classifier, caution, clean, maps)
    if not query.options.quality:
        return explanation
    qualities = yield from map_quality(query, subject, clean, maps)
    scored = zip(explanation.maps, qualities, strict=True)
    return replace(explanation, maps=tuple(replace(each, quality=quality) for each, quality in scored))


def _needs_maps(options: Options) -> bool:
    """Tell if the method must run: if not, the answer has only predictions, targets and scores."""
    without_map = options.render == "none" and options.format == "json"
    return not without_map or options.quality or METHODS[options.method].shows is Shows.INPUT


class ClassScores:
    """Logits [K] of the original picture and their probabilities; RequestError if they are not finite."""

    def __init__(self, logits: Tensor, classifier: Classifier, picture: Picture) -> None:
        values = logits.numpy().astype(np.float64)
        if not np.isfinite(values).all():
            raise _not_finite("the model's output", picture)
        self._logits = logits
        self._probabilities = softmax(values)
        self._names = classifier.labels.names

    def prediction(self, index: int) -> Prediction:
        """Return the label, probability and logit of one class."""
        return Prediction(index, self._names[index], float(self._probabilities[index]), float(self._logits[index]))

    def top(self, count: int) -> tuple[Prediction, ...]:
        """Return the `count` classes with the highest logits, highest first."""
        return tuple(self.prediction(index) for index in ranking(self._logits, count))


def _explanation(
    query: Query, classifier: Classifier, caution: str | None, clean: Answer, maps: Maps | None
) -> Explanation:
    """Return the explanation of a query; `clean` has the original picture in row 0, and `maps` may be missing."""
    options, scores = query.options, ClassScores(clean.logits[0], classifier, query.picture)
    used = {name: getattr(options, name) for name in MAP_OPTIONS}
    parameters = asdict(query.parameters)  # type: ignore[call-overload]
    return Explanation(
        model=classifier.name,
        version=classifier.version,
        predictions=scores.top(options.top_k),
        maps=_target_maps(query, clean, scores, maps),
        method=options.method,
        parameters=cast(Mapping[str, Scalar], used | parameters),
        picture=query.picture,
        view=View(options.render, options.space, options.colormap, options.alpha, options.clip, options.floor),
        format=options.format,
        shows=METHODS[options.method].shows,
        sanity=caution,
    )


def _target_maps(query: Query, clean: Answer, scores: ClassScores, maps: Maps | None) -> tuple[TargetMap, ...]:
    """Return one map per target, with the score that it explains and the method's findings."""
    pairs = clean.pairs[0]
    values = _values(query, maps) if maps else [np.zeros((0, 0), np.float32)] * len(pairs)
    findings = maps.findings if maps and maps.findings else ({},) * len(pairs)
    return tuple(
        TargetMap(
            target=scores.prediction(target),
            against=scores.prediction(against) if against >= 0 else None,
            saliency=value,
            findings={"score": float(score), **found},
        )
        for (target, against), value, score, found in zip(pairs, values, clean.scores[:, 0], findings, strict=True)
    )


def _values(query: Query, maps: Maps) -> Sequence[NDArray[np.float32]]:
    """Return the maps reduced, on the CPU, in the requested space; raise RequestError if they are not finite."""
    options = query.options
    values = reduced(maps.values.float(), options.reduce, options.polarity).cpu().contiguous().numpy()
    if not np.isfinite(values).all():
        raise _not_finite("the saliency", query.picture)
    if options.space == "input":
        return list(values)
    return [project(value, query.picture.crop, *query.picture.original.size) for value in values]


def _not_finite(name: str, picture: Picture) -> RequestError:
    """Return the error for NaN or infinity: 500, or 400 if the client sent the network's input itself."""
    if picture.given is None:
        return not_finite(name)
    message = f"{name} for this input is not finite: are its values of the scale that the model was trained with?"
    return RequestError(400, "NonFiniteException", message, "inputs")
