"""Quality scores of maps that the engine did not make: controls, or maps of another library."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from torchserve_saliency.engine.rows import Answer, Rows
from torchserve_saliency.engine.scheduler import Scheduler
from torchserve_saliency.errors import bad_option
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.jobs import network_inputs
from torchserve_saliency.methods.base import Subject
from torchserve_saliency.quality.judged import Judged, ScoreValue
from torchserve_saliency.quality.scores import SCORES, rounded
from torchserve_saliency.requests.message import Message
from torchserve_saliency.requests.query import read_query

Maps = Mapping[str, NDArray[np.float32]]


def score_map(
    explainer: Explainer,
    image: str | Path | bytes,
    target: object,
    saliency: NDArray[np.float32],
    scores: Sequence[str] = tuple(SCORES),
) -> Mapping[str, ScoreValue]:
    """Return the scores of a map [H, W] of the network's input; a score is None if it is undefined for the map."""
    return score_maps(explainer, image, target, {"": saliency}, scores)[""]


def score_maps(
    explainer: Explainer,
    image: str | Path | bytes,
    target: object,
    maps: Maps,
    scores: Sequence[str] = tuple(SCORES),
) -> Mapping[str, Mapping[str, ScoreValue]]:
    """Return the scores of several maps of one picture. `target` is an option value that names one class.

    The maps are scored as contributions. Scores that need to run a method again are None, and no score is compared
    with a random map's; pass a random map as one of `maps` instead.
    """
    data = image if isinstance(image, bytes) else Path(image).read_bytes()
    query = read_query(Message({"data": data, "target": target}, explain=True), explainer.classifier)
    if query.objective is None or len(query.objective.targets) != 1:
        raise bad_option("target", "'target' must be one class")
    (x,) = network_inputs([query.picture], explainer.classifier.device)
    stacked = torch.from_numpy(np.stack([np.asarray(one, np.float32) for one in maps.values()])).to(x.device)
    if stacked.shape[1:] != x.shape[2:]:
        raise ValueError(f"the maps {list(stacked.shape[1:])} and the input {list(x.shape[2:])} differ in size")
    subject = Subject(x, query.objective, explainer.classifier.input)
    results = Scheduler(explainer.classifier, explainer.capacity, {0: _score(subject, stacked, scores)}).finish()[0]
    if isinstance(results, Exception):
        raise results
    return {name: {score: rounded(values[m, 0]) for score, values in results.items()} for m, name in enumerate(maps)}


def _score(
    subject: Subject, maps: torch.Tensor, scores: Sequence[str]
) -> Generator[Rows, Answer, Mapping[str, torch.Tensor]]:
    """Return the scores [M, 1] of the maps [M, H, W], by the name of the score."""
    clean = yield Rows(subject.x, subject.objective, gradient=False)
    resolved = Subject(subject.x, subject.objective.fixed(clean.pairs[0]), subject.spec)
    judged = Judged(resolved, clean.logits[0], maps, maps[:, None])
    results = {}
    for name in scores:
        results[name] = yield from SCORES[name].function(judged)
    return results
