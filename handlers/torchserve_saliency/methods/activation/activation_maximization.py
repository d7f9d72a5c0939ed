"""Activation maximization: an input, made without a picture, for which a class or a unit has a high score."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from torchserve_saliency.engine.objective import Objective
from torchserve_saliency.engine.rows import Answer, Rows
from torchserve_saliency.errors import RequestError, bad_option
from torchserve_saliency.images.preprocessing import InputSpec
from torchserve_saliency.methods.activation.layer_options import LayerNames
from torchserve_saliency.methods.base import MOST_PASSES, Cost, Maps, Method, Shows, Steps, Subject
from torchserve_saliency.methods.baselines import baseline, seed_option, seeded
from torchserve_saliency.schema import Integer, Number, option

BLUR_EVERY = 4  # steps
START = 0.1  # standard deviation of the initial noise, in units of the normalised input


@dataclass(frozen=True)
class ActivationMaximization:
    """Gradient ascent and its regularisation; `layer` and `unit` select a unit to maximise instead of a class."""

    steps: int = option(128, Integer(1, MOST_PASSES), "Steps towards a higher score", unit="steps")
    learning_rate: float = option(0.05, Number(1e-4, 1), "Size of a step; larger steps are faster and rougher")
    decay: float = option(0.01, Number(0, 1), "Fraction by which the picture fades to grey after each step")
    blur: float = option(0.7, Number(0, 5), f"Width of the blur after every {BLUR_EVERY} steps", unit="pixels")
    jitter: int = option(8, Integer(0, 64), "Largest random shift of the picture before a step", unit="pixels")
    layer: str | None = option(
        None, LayerNames(1), "Layer of the unit to maximise in place of a class; it needs a unit"
    )
    unit: int | None = option(
        None, Integer(0, 1_000_000), "Number of the layer's channel to maximise in place of a class; it needs a layer"
    )
    seed: int = seed_option()


def _fit(p: ActivationMaximization, spec: InputSpec) -> ActivationMaximization:
    """Return the parameters; raise RequestError 400 if only one of `layer` and `unit` is given."""
    if (p.layer is None) != (p.unit is None):
        lone, other = ("layer", "unit") if p.unit is None else ("unit", "layer")
        raise bad_option(lone, f"'{lone}' needs '{other}': together they select a unit to maximise instead of a class")
    return p


def _cost(p: ActivationMaximization, spec: InputSpec) -> Cost:
    """Return one forward and backward pass per step, and forward passes of the first and the last input."""
    return Cost(p.steps + 3, p.steps)


def activation_maximization(subject: Subject, p: ActivationMaximization) -> Steps:
    """Input [1, C, H, W] with a high score, found by gradient ascent from noise around grey (Erhan et al. 2009).

    Regularised by decay and blur (Yosinski et al. 2015), by jitter (Mordvintsev et al. 2015), and by clipping to black
    and white. The findings `score_start` and `score_end` are the score of the first and of the last input. The
    predictions are those of the last input.
    """
    generator = seeded(p.seed, subject.x)
    black, white = (baseline(name, subject.x, subject.spec) for name in ("black", "white"))
    grey = (black + white) / 2
    noise = torch.randn(grey.shape, generator=generator, dtype=grey.dtype, device=grey.device)
    x = grey + START * noise
    start = yield from _score(subject, x, p)
    for step in range(p.steps):
        shift = torch.randint(-p.jitter, p.jitter + 1, (2,), generator=generator, device=x.device).tolist()
        answer = yield _ascent_rows(subject, x.roll(shift, (2, 3)), p)
        x = x + p.learning_rate * _unit_rms(answer.grad[0].roll([-s for s in shift], (2, 3)).to(x))
        x = torch.lerp(x, grey, p.decay)
        if p.blur and (step + 1) % BLUR_EVERY == 0:
            x = gaussian_blur(x, [2 * round(2 * p.blur) + 1] * 2, [p.blur] * 2)
        x = torch.minimum(torch.maximum(x, black), white)
    end = yield from _score(subject, x, p)
    clean = yield Rows(x, subject.objective, gradient=False)
    return Maps(x, ({"score_start": start, "score_end": end},), clean)


def _ascent_rows(subject: Subject, x: Tensor, p: ActivationMaximization, gradient: bool = True) -> Rows:
    """Return the row to evaluate, with the score to maximise: that of a class, or the mean activation of a unit."""
    if p.unit is None:
        return Rows(x, subject.objective, gradient=gradient)
    unit = Objective((p.unit,), pairs=((p.unit, -1),))
    return Rows(x, unit, gradient=gradient, units=p.layer)


def _score(subject: Subject, x: Tensor, p: ActivationMaximization) -> Generator[Rows, Answer, float]:
    """Return the score to maximise at one input; raise RequestError 422 if the layer has no such unit."""
    if p.unit is None:
        answer = yield _ascent_rows(subject, x, p, gradient=False)
        return float(answer.scores[0, 0])
    answer = yield Rows(x, units=p.layer)
    units = answer.logits.shape[1]
    if p.unit >= units:
        message = f"unit {p.unit} is out of range: layer '{p.layer}' has units 0 to {units - 1}"
        raise RequestError(422, "UnitException", message, "unit")
    return float(answer.logits[0, p.unit])


def _unit_rms(gradient: Tensor) -> Tensor:
    """Return the gradient scaled to a root mean square of 1."""
    return gradient / gradient.square().mean().sqrt().clamp_min(1e-30)


ACTIVATION_MAXIMIZATION_METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "activation_maximization": Method(
            activation_maximization,
            ActivationMaximization,
            "Yosinski et al. 2015, arXiv:1506.06579",
            "A picture, made from noise, that the class responds to most",
            cost=_cost,
            fit=_fit,
            shows=Shows.INPUT,
        ),
    }
)
