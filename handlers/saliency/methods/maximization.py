"""Looking inside a network without a picture: the input that a class or a unit answers to most."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import torch
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from saliency.errors import RequestError, bad_option
from saliency.image import InputSpec
from saliency.methods.base import MOST_PASSES, Cost, Maps, Method, Shows, Steps, Subject
from saliency.methods.baselines import baseline, seed_option, seeded
from saliency.methods.layers import LayerNames
from saliency.rows import Answer, Rows
from saliency.schema import Integer, Number, option

BLUR_EVERY = 4  # steps
START = 0.1  # standard deviation of the noise that is begun with, in units of the normalised input


@dataclass(frozen=True)
class ActivationMaximization:
    """How the input is climbed to, and what keeps it a picture; `layer` and `unit` ask for a unit, not a class."""

    steps: int = option(128, Integer(1, MOST_PASSES), "steps of gradient ascent")
    learning_rate: float = option(0.05, Number(1e-4, 1), "size of a step, in units of the normalised input")
    decay: float = option(0.01, Number(0, 1), "share of the way back to grey after each step")
    blur: float = option(0.7, Number(0, 5), f"standard deviation in pixels of the blur after every {BLUR_EVERY} steps")
    jitter: int = option(8, Integer(0, 64), "most pixels that the input is shifted by before a step")
    layer: str | None = option(None, LayerNames(1), "layer of the unit")
    unit: int | None = option(None, Integer(0, 1_000_000), "channel of the layer whose mean is climbed")
    seed: int = seed_option()


def fitted(p: ActivationMaximization, spec: InputSpec) -> ActivationMaximization:
    """Return the parameters if they go together; a 400 for a layer without a unit, or a unit without a layer."""
    if (p.layer is None) != (p.unit is None):
        lone, other = ("layer", "unit") if p.unit is None else ("unit", "layer")
        raise bad_option(lone, f"'{lone}' goes with '{other}': together they name what is climbed in place of a class")
    return p


def _cost(p: ActivationMaximization, spec: InputSpec) -> Cost:
    """Return a row a step, and the noise and the input found without gradients."""
    return Cost(p.steps + 3, p.steps)


def activation_maximization(subject: Subject, p: ActivationMaximization) -> Steps:
    """Input [1, C, H, W] of the greatest score, climbed to from noise around grey (Erhan et al. 2009).

    It is kept a picture by decay, blur (Yosinski et al. 2015) and jitter (Mordvintsev et al. 2015), and between black
    and white. The findings are what is climbed, at the noise and at the input found; the predictions are the latter's.
    """
    generator = seeded(p.seed, subject.x)
    black, white = (baseline(name, subject.x, subject.spec) for name in ("black", "white"))
    grey = (black + white) / 2
    noise = torch.randn(grey.shape, generator=generator, dtype=grey.dtype, device=grey.device)
    x = grey + START * noise
    start = yield from _score(subject, x, p)
    for step in range(p.steps):
        shift = torch.randint(-p.jitter, p.jitter + 1, (2,), generator=generator, device=x.device).tolist()
        answer = yield _climbed(subject, x.roll(shift, (2, 3)), p)
        x = x + p.learning_rate * _unit_length(answer.grad[0].roll([-s for s in shift], (2, 3)).to(x))
        x = torch.lerp(x, grey, p.decay)
        if p.blur and (step + 1) % BLUR_EVERY == 0:
            x = gaussian_blur(x, [2 * round(2 * p.blur) + 1] * 2, [p.blur] * 2)
        x = torch.minimum(torch.maximum(x, black), white)
    end = yield from _score(subject, x, p)
    clean = yield Rows(x, subject.objective, gradient=False)
    return Maps(x, ({"score_start": start, "score_end": end},), clean)


def _climbed(subject: Subject, x: Tensor, p: ActivationMaximization, gradient: bool = True) -> Rows:
    """Return the row whose score is climbed: a class's, or the mean of a unit."""
    if p.unit is None:
        return Rows(x, subject.objective, gradient=gradient)
    unit = replace(subject.objective, targets=(p.unit,), against=None, score="logit", pairs=((p.unit, -1),))
    return Rows(x, unit, gradient=gradient, units=p.layer)


def _score(subject: Subject, x: Tensor, p: ActivationMaximization) -> Generator[Rows, Answer, float]:
    """Return what is climbed, at one input; RequestError 422 for a unit that the layer does not have."""
    if p.unit is None:
        answer = yield _climbed(subject, x, p, gradient=False)
        return float(answer.scores[0, 0])
    answer = yield Rows(x, units=p.layer)
    units = answer.logits.shape[1]
    if p.unit >= units:
        said = f"unit {p.unit} is out of range: layer '{p.layer}' has units 0 to {units - 1}"
        raise RequestError(422, "UnitException", said, "unit")
    return float(answer.logits[0, p.unit])


def _unit_length(gradient: Tensor) -> Tensor:
    """Return a gradient of which a value's root mean square is 1."""
    return gradient / gradient.square().mean().sqrt().clamp_min(1e-30)


MAXIMIZATION: Mapping[str, Method] = MappingProxyType(
    {
        "activation_maximization": Method(
            activation_maximization,
            ActivationMaximization,
            "Yosinski et al. 2015, arXiv:1506.06579",
            cost=_cost,
            fit=fitted,
            shows=Shows.INPUT,
        ),
    }
)
