"""A job per query: a generator that yields the rows to evaluate and returns the predictions or the explanation."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, fields, replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchserve_saliency.engine.objective import ranking
from torchserve_saliency.engine.rows import Answer, Rows, resume
from torchserve_saliency.errors import RequestError
from torchserve_saliency.images.preprocessing import Picture, normalise, project
from torchserve_saliency.map_notes import noted
from torchserve_saliency.map_quality import map_quality
from torchserve_saliency.methods import METHODS
from torchserve_saliency.methods.base import Maps, Shows, Subject
from torchserve_saliency.methods.reduction import reduced
from torchserve_saliency.model.classifier import Classifier
from torchserve_saliency.model.heads import Head
from torchserve_saliency.requests.options import Options
from torchserve_saliency.requests.query import Query
from torchserve_saliency.responses.explanation import Explanation, Outcome, Prediction, Scalar, TargetMap, View
from torchserve_saliency.responses.json_body import not_finite

Job = Generator[Rows, Answer, Outcome]
MAP_OPTIONS = ("score", "reduce", "polarity", "space")


def network_inputs(pictures: Sequence[Picture], device: torch.device) -> list[Tensor]:
    """Return each picture as an input [1, C, H, W] on the device.

    A GPU receives the pixels of all 8-bit pictures as bytes, in one transfer from pinned memory, and normalises them.
    """
    uploaded = [] if device.type == "cpu" else [picture for picture in pictures if picture.is_8_bit]
    rows = iter(upload(uploaded, device).split(1) if uploaded else ())
    return [next(rows) if uploaded and p.is_8_bit else p.tensor[None].to(device) for p in pictures]


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
        return ClassScores(answer.logits[0], query.head, query.picture).top(query.options.top_k)
    caution = cautions.get(query.options.method)
    objective, resolved = query.objective, None
    if objective.above or not _needs_maps(query.options):
        resolved = yield Rows(x, objective, gradient=False)
        objective = objective.fixed(resolved.pairs[0])
        query.check_targets(len(objective.targets))
        if not (objective.targets and _needs_maps(query.options)):
            return _explanation(query, classifier, caution, resolved, None)
    subject = Subject(x, objective, classifier.input, classifier.attention)
    steps = METHODS[query.options.method].function(subject, query.parameters)
    first = yield next(steps)
    maps = yield from resume(steps, first)
    clean = resolved or maps.clean or first
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
    """Predictions of one head from the logits [W] of the original picture; RequestError if they are not finite."""

    def __init__(self, logits: Tensor, head: Head, picture: Picture) -> None:
        self._logits = head.columns.of(logits)
        if not bool(self._logits.isfinite().all()):
            raise _not_finite("the model's output", picture)
        self._probabilities = head.columns.probabilities(logits)
        self._labels = head.labels

    def prediction(self, index: int) -> Prediction:
        """Return the label, probability and logit of one class."""
        label, unique = self._labels.names[index], self._labels.displayed[index]
        return Prediction(index, label, float(self._probabilities[index]), float(self._logits[index]), unique)

    def top(self, count: int) -> tuple[Prediction, ...]:
        """Return the `count` classes with the highest logits, highest first."""
        return tuple(self.prediction(index) for index in ranking(self._logits, count))


def _explanation(
    query: Query, classifier: Classifier, caution: str | None, clean: Answer, maps: Maps | None
) -> Explanation:
    """Return the explanation of a query; `clean` has the original picture in row 0, and `maps` may be missing."""
    options, scores = query.options, ClassScores(clean.logits[0], query.head, query.picture)
    used = {"head": query.head.name} if len(classifier.heads.all) > 1 else {}
    used |= {name: getattr(options, name) for name in MAP_OPTIONS}
    parameters = asdict(query.parameters)  # type: ignore[call-overload]
    return Explanation(
        model=classifier.name,
        version=classifier.version,
        predictions=scores.top(options.top_k),
        maps=_target_maps(query, clean, scores, maps, classifier),
        method=options.method,
        parameters=cast(Mapping[str, Scalar], used | parameters),
        picture=query.picture,
        view=View(**{field.name: getattr(options, field.name) for field in fields(View)}),
        format=options.format,
        shows=METHODS[options.method].shows,
        sanity=caution,
    )


def _target_maps(
    query: Query, clean: Answer, scores: ClassScores, maps: Maps | None, classifier: Classifier
) -> tuple[TargetMap, ...]:
    """Return one map per target, with the score that it explains, the method's findings, and notes if there are any."""
    pairs = clean.pairs[0]
    values = _values(query, maps) if maps else [np.zeros((0, 0), np.float32)] * len(pairs)
    findings: Sequence[Mapping[str, Any]] = maps.findings if maps and maps.findings else ({},) * len(pairs)
    if maps:
        findings = [
            noted(found, value, index, maps, query, classifier.layers.grids) if _is_notable(found, value) else found
            for index, (found, value) in enumerate(zip(findings, values, strict=True))
        ]
    return tuple(
        TargetMap(
            target=scores.prediction(target),
            against=scores.prediction(against) if against >= 0 else None,
            saliency=value,
            findings={"score": float(score), **found},
        )
        for (target, against), value, score, found in zip(pairs, values, clean.scores[:, 0], findings, strict=True)
    )


def _is_notable(found: Mapping[str, Any], value: NDArray[np.float32]) -> bool:
    """Tell if there may be notes on a map: it is made of a layer, or is the same everywhere."""
    return "layer_grid" in found or bool(value.min() == value.max())


def _values(query: Query, maps: Maps) -> Sequence[NDArray[np.float32]]:
    """Return the maps reduced, on the CPU, in the requested space; raise RequestError if they are not finite."""
    options = query.options
    own = maps.of_polarity(options.polarity).float()
    values = reduced(own, options.reduce, options.polarity).cpu().contiguous().numpy()
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
