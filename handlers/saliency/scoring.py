"""Scores of maps that come from elsewhere: of the picture's centre, its edges, another library's."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from saliency.errors import bad_option
from saliency.explainer import Explainer
from saliency.inputs import network_inputs
from saliency.message import Message
from saliency.methods.base import Subject
from saliency.quality import SCORES, figure
from saliency.quality.base import Figure, Judged
from saliency.request import read_query
from saliency.rows import Answer, Rows
from saliency.waves import Waves

Maps = Mapping[str, NDArray[np.float32]]


def score_map(
    explainer: Explainer,
    image: str | Path | bytes,
    target: object,
    saliency: NDArray[np.float32],
    scores: Sequence[str] = tuple(SCORES),
) -> Mapping[str, Figure]:
    """Return the figures of a map [H, W] in the input's space, None where a score has none for such a map."""
    return score_maps(explainer, image, target, {"": saliency}, scores)[""]


def score_maps(
    explainer: Explainer,
    image: str | Path | bytes,
    target: object,
    maps: Maps,
    scores: Sequence[str] = tuple(SCORES),
) -> Mapping[str, Mapping[str, Figure]]:
    """Return each map's figures for one class of one picture, the class being what the option `target` names.

    The maps count as shares of the score. There is no method to run again, and no random map beside them: random maps
    are maps like others here.
    """
    data = image if isinstance(image, bytes) else Path(image).read_bytes()
    query = read_query(Message({"data": data, "target": target}, explain=True), explainer.classifier)
    if query.objective is None or len(query.objective.targets) != 1:
        raise bad_option("target", "'target' must be one class")
    (x,) = network_inputs([query.picture], explainer.classifier.device)
    stacked = torch.from_numpy(np.stack([np.asarray(one, np.float32) for one in maps.values()])).to(x.device)
    if stacked.shape[1:] != x.shape[2:]:
        raise ValueError(f"maps {list(stacked.shape[1:])} do not lie on the input {list(x.shape[2:])}")
    subject = Subject(x, query.objective, explainer.classifier.input)
    marks = Waves(explainer.classifier, explainer.capacity, {0: _marks(subject, stacked, scores)}).finish()[0]
    if isinstance(marks, Exception):
        raise marks
    return {name: {score: figure(found[m, 0]) for score, found in marks.items()} for m, name in enumerate(maps)}


def _marks(
    subject: Subject, shown: torch.Tensor, scores: Sequence[str]
) -> Generator[Rows, Answer, Mapping[str, torch.Tensor]]:
    """Return what the maps [M, H, W] score, by score, [M, 1] each."""
    clean = yield Rows(subject.x, subject.objective, gradient=False)
    settled = Subject(subject.x, subject.objective.fixed(clean.pairs[0]), subject.spec)
    judged = Judged(settled, clean.logits[0], shown, shown[:, None])
    found = {}
    for name in scores:
        found[name] = yield from SCORES[name].function(judged)
    return found
