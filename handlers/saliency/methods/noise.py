"""Methods that gather the gradients of noisy copies of the input: their mean, their mean square, their variance."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TypeVar

import torch
from torch import Tensor

from saliency.image import InputSpec
from saliency.methods.base import CHUNK, MOST_PASSES, Cost, Maps, Method, Steps, Subject
from saliency.methods.baselines import seed_option, seeded
from saliency.rows import Answer, Rows
from saliency.schema import Integer, Number, option

T = TypeVar("T")


@dataclass(frozen=True)
class SmoothGrad:
    """Noisy copies, and how noisy."""

    samples: int = option(25, Integer(1, MOST_PASSES), "noisy copies")
    noise: float = option(0.15, Number(0, 10), "standard deviation as a fraction of the input's range")
    seed: int = seed_option()


def _cost(p: SmoothGrad, spec: InputSpec) -> Cost:
    """Return the clean picture, and the noisy ones with their gradients."""
    return Cost(1 + p.samples, p.samples)


def smooth_grad(subject: Subject, p: SmoothGrad) -> Steps:
    """Mean signed gradient over noisy copies of the input (Smilkov et al. 2017)."""
    total = yield from _gathered(subject, p, lambda grads: grads.sum(1), torch.add)
    return Maps(total / p.samples)


def smooth_grad_squared(subject: Subject, p: SmoothGrad) -> Steps:
    """Mean squared gradient over noisy copies of the input (Hooker et al. 2019)."""
    total = yield from _gathered(subject, p, lambda grads: grads.square().sum(1), torch.add)
    return Maps(total / p.samples)


def var_grad(subject: Subject, p: SmoothGrad) -> Steps:
    """Variance of the gradient over noisy copies of the input, divided by their number (Adebayo et al. 2018)."""
    moments = yield from _gathered(subject, p, _Moments.of, _Moments.merged)
    return Maps(moments.squares / p.samples)


def noisy_copies(x: Tensor, samples: int, noise: float, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield copies [n, C, H, W] of `x` [1, C, H, W] a few at a time, `noise` a fraction of its range."""
    deviation = noise * (x.max() - x.min())
    for start in range(0, samples, CHUNK):
        shape = min(CHUNK, samples - start), *x.shape[1:]
        yield x + deviation * torch.randn(shape, generator=generator, dtype=x.dtype, device=x.device)


def _gathered(
    subject: Subject, p: SmoothGrad, of: Callable[[Tensor], T], merged: Callable[[T, T], T]
) -> Generator[Rows, Answer, T]:
    """Return what `of` makes of the noisy copies' gradients [T, n, C, H, W], chunk after chunk `merged` into one."""
    clean = yield Rows(subject.x, subject.objective, gradient=False)
    objective = subject.objective.fixed(clean.pairs[0])
    gathered: T | None = None
    for noisy in noisy_copies(subject.x, p.samples, p.noise, seeded(p.seed, subject.x)):
        answer = yield Rows(noisy, objective)
        part = of(answer.grad)
        gathered = part if gathered is None else merged(gathered, part)
    assert gathered is not None
    return gathered


@dataclass(frozen=True)
class _Moments:
    """Of so many gradients: their mean and the sum of their squared distances from it, [T, C, H, W] each.

    A mean of squares less the square of the mean would cancel where gradients hardly differ.
    """

    count: int
    mean: Tensor
    squares: Tensor

    @classmethod
    def of(cls, grads: Tensor) -> _Moments:
        """Return the moments of gradients [T, n, C, H, W]."""
        mean = grads.mean(1)
        return cls(grads.shape[1], mean, (grads - mean[:, None]).square().sum(1))

    def merged(self, other: _Moments) -> _Moments:
        """Return the moments of both together (Chan et al. 1979)."""
        count = self.count + other.count
        apart = other.mean - self.mean
        return replace(
            self,
            count=count,
            mean=self.mean + apart * (other.count / count),
            squares=self.squares + other.squares + apart.square() * (self.count * other.count / count),
        )


NOISE: Mapping[str, Method] = MappingProxyType(
    {
        "smooth_grad": Method(smooth_grad, SmoothGrad, "Smilkov et al. 2017, arXiv:1706.03825", cost=_cost, local=True),
        "smooth_grad_squared": Method(
            smooth_grad_squared, SmoothGrad, "Hooker et al. 2019, arXiv:1806.10758", cost=_cost, local=True
        ),
        "var_grad": Method(var_grad, SmoothGrad, "Adebayo et al. 2018, arXiv:1810.03307", cost=_cost, local=True),
    }
)
