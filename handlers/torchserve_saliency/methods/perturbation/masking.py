"""Superpixels of an input, masked in and out: common to methods that remove parts of the picture."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from torchserve_saliency.engine.objective import Objective
from torchserve_saliency.engine.rows import Answer, Rows
from torchserve_saliency.errors import bad_option
from torchserve_saliency.images.preprocessing import InputSpec
from torchserve_saliency.images.superpixels import SUPERPIXELS, segments
from torchserve_saliency.methods.base import Maps, Subject, chunks, to_picture
from torchserve_saliency.methods.baselines import baseline, seeded
from torchserve_saliency.schema import Choice, Integer, option

MOST_SEGMENTS = 500


class SuperpixelParameters(Protocol):
    """Parameters of a method that removes superpixels."""

    @property
    def segments(self) -> int: ...
    @property
    def superpixels(self) -> str: ...
    @property
    def baseline(self) -> str: ...
    @property
    def seed(self) -> int: ...


P = TypeVar("P", bound=SuperpixelParameters)


def segments_option(default: int, note: str) -> int:
    """Return the dataclass field of a parameter that limits superpixels; its help text ends with `note`."""
    text = f"Largest number of regions that the picture is divided into; {note}"
    chosen: int = option(default, Integer(1, MOST_SEGMENTS), text, unit="regions")
    return chosen


def superpixels_option() -> str:
    """Return the dataclass field of a parameter that names the superpixel algorithm."""
    chosen: str = option("slic", Choice(tuple(SUPERPIXELS)), "Regions that follow edges (slic), or squares (grid)")
    return chosen


def fit_segments(p: P, spec: InputSpec) -> P:
    """Return the parameters; raise RequestError 400 if `segments` is larger than the number of the input's pixels."""
    pixels = spec.size[0] * spec.size[1]
    if p.segments > pixels:
        message = f"'segments' must be at most {pixels}, the number of the input's pixels, not {p.segments}"
        raise bad_option("segments", message)
    return p


@dataclass(frozen=True)
class Parts:
    """An input `x` [1, C, H, W], split into `count` parts by `labels` [H, W]; `absent` replaces absent parts."""

    x: Tensor
    absent: Tensor
    labels: Tensor
    count: int

    def inputs(self, present: Tensor) -> Tensor:
        """Return the inputs [n, C, H, W] with only the parts in each row of `present`, booleans [n, count]."""
        mask = present.to(self.labels.device)[:, self.labels]
        return torch.where(mask[:, None], self.x, self.absent)

    def maps(self, values: Tensor) -> Tensor:
        """Return the parts' values [T, count] as maps [T, 1, H, W]: each pixel gets the value of its part."""
        return values.to(self.x)[:, None, self.labels]


def superpixel_parts(subject: Subject, p: SuperpixelParameters) -> Parts:
    """Return the subject's input split into the superpixels of its picture."""
    labels = segments(to_picture(subject), p.segments, p.superpixels)
    absent = baseline(p.baseline, subject.x, subject.spec, p.seed)
    return Parts(subject.x, absent, labels.to(subject.x.device), int(labels.max()) + 1)


def prepare_parts(
    subject: Subject, p: SuperpixelParameters
) -> Generator[Rows, Answer, tuple[Answer, Parts, Objective]]:
    """Return the answer for the picture, its superpixels, and the objective with the picture's classes."""
    clean = yield Rows(subject.x, subject.objective, gradient=False)
    return clean, superpixel_parts(subject, p), subject.objective.fixed(clean.pairs[0])


def scores(parts: Parts, objective: Objective, present: Tensor) -> Generator[Rows, Answer, Tensor]:
    """Return the scores [T, n] of the inputs with only the parts in each row of `present`, booleans [n, count]."""
    found = [torch.empty(len(objective.targets), 0, dtype=torch.float64)]
    for rows in chunks(present) if len(present) else ():
        answer = yield Rows(parts.inputs(rows), objective, gradient=False)
        found.append(answer.scores)
    return torch.cat(found, 1)


def cpu_generator(seed: int) -> torch.Generator:
    """Return a seeded generator on the CPU, so that the masks are the same for every device."""
    return seeded(seed, torch.empty(0))


def shapley_maps(parts: Parts, values: Tensor, change: Tensor) -> Maps:
    """Return the maps of Shapley values [T, count], which should sum to the change in score [T] from no part to all.

    The findings are `score_difference`, this change, and `completeness_gap`, the sum of the values minus the change.
    """
    gaps = values.sum(1) - change
    findings = [{"score_difference": float(c), "completeness_gap": float(g)} for c, g in zip(change, gaps, strict=True)]
    return Maps(parts.maps(values), tuple(findings))
