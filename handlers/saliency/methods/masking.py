"""What methods without gradients share: an input cut into parts, some of them absent, and the scores of that."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from saliency.errors import bad_option
from saliency.image import InputSpec
from saliency.methods.base import Maps, Subject, chunks
from saliency.methods.baselines import baseline, seeded
from saliency.objective import Objective
from saliency.rows import Answer, Rows
from saliency.schema import Choice, Integer, option
from saliency.superpixels import SUPERPIXELS, segments

MOST_SEGMENTS = 500


class Cut(Protocol):
    """Parameters of a method that takes superpixels away."""

    @property
    def segments(self) -> int: ...
    @property
    def superpixels(self) -> str: ...
    @property
    def baseline(self) -> str: ...
    @property
    def seed(self) -> int: ...


P = TypeVar("P", bound=Cut)


def segments_option(default: int, forwards: str) -> int:
    """Return the field of a parameter that counts superpixels."""
    chosen: int = option(default, Integer(1, MOST_SEGMENTS), f"superpixels at most; {forwards}")
    return chosen


def superpixels_option() -> str:
    """Return the field of a parameter that names how a picture is cut."""
    chosen: str = option("slic", Choice(tuple(SUPERPIXELS)), "superpixels along edges (slic), or a grid")
    return chosen


def fit_segments(p: P, spec: InputSpec) -> P:
    """Return the parameters; a 400 where they ask for more superpixels than the input has pixels."""
    pixels = spec.size[0] * spec.size[1]
    if p.segments > pixels:
        raise bad_option("segments", f"'segments' must be at most {pixels}, the input's pixels, not {p.segments}")
    return p


@dataclass(frozen=True)
class Parts:
    """An input `x` [1, C, H, W] cut into `count` parts by `labels` [H, W]; `absent` shows where a part is not."""

    x: Tensor
    absent: Tensor
    labels: Tensor
    count: int

    def inputs(self, present: Tensor) -> Tensor:
        """Return an input [n, C, H, W] for each row of `present`, booleans [n, count]."""
        mask = present.to(self.labels.device)[:, self.labels]
        return torch.where(mask[:, None], self.x, self.absent)

    def maps(self, values: Tensor) -> Tensor:
        """Return the parts' values [T, count] as maps [T, 1, H, W]: each pixel has its part's."""
        return values.to(self.x)[:, None, self.labels]


def shown(subject: Subject) -> Tensor:
    """Return the picture that the subject's input shows, [C, H, W] in 0-1, on the CPU."""
    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (subject.spec.mean, subject.spec.std))
    return (subject.x[0].detach().float().cpu() * std + mean).clamp(0, 1)


def cut(subject: Subject, p: Cut) -> Parts:
    """Return the subject's input cut into the superpixels of its picture."""
    labels = segments(shown(subject), p.segments, p.superpixels)
    absent = baseline(p.baseline, subject.x, subject.spec, p.seed)
    return Parts(subject.x, absent, labels.to(subject.x.device), int(labels.max()) + 1)


def begun(subject: Subject, p: Cut) -> Generator[Rows, Answer, tuple[Answer, Parts, Objective]]:
    """Return the picture's answer, its parts, and the objective held to its classes."""
    clean = yield Rows(subject.x, subject.objective, gradient=False)
    return clean, cut(subject, p), subject.objective.fixed(clean.pairs[0])


def scores(parts: Parts, objective: Objective, present: Tensor) -> Generator[Rows, Answer, Tensor]:
    """Yield the input with the parts of each row of `present`, booleans [n, count]; return the scores [T, n]."""
    found = [torch.empty(len(objective.targets), 0, dtype=torch.float64)]
    for rows in chunks(present) if len(present) else ():
        answer = yield Rows(parts.inputs(rows), objective, gradient=False)
        found.append(answer.scores)
    return torch.cat(found, 1)


def drawn(seed: int) -> torch.Generator:
    """Return a generator of masks: on the CPU, where they are made, so that every device has the same."""
    return seeded(seed, torch.empty(0))


def fair_shares(parts: Parts, values: Tensor, change: Tensor) -> Maps:
    """Return the maps of values [T, count] whose sums ought to be the change in score [T] from nothing to everything.

    The finding `completeness_gap` is what a sum has too much.
    """
    gaps = values.sum(1) - change
    findings = [{"score_difference": float(c), "completeness_gap": float(g)} for c, g in zip(change, gaps, strict=True)]
    return Maps(parts.maps(values), tuple(findings))
