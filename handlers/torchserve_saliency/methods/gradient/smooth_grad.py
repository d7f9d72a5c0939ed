"""SmoothGrad and its relatives: the mean, the mean square or the variance of gradients of noisy inputs."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TypeVar

import torch
from torch import Tensor

from torchserve_saliency.engine.rows import Answer, Rows
from torchserve_saliency.images.preprocessing import InputSpec
from torchserve_saliency.methods.base import CHUNK, MOST_PASSES, Cost, Maps, Method, Steps, Subject
from torchserve_saliency.methods.baselines import seed_option, seeded
from torchserve_saliency.schema import Integer, Number, option

T = TypeVar("T")


@dataclass(frozen=True)
class SmoothGrad:
    """The number of noisy copies, and the noise."""

    samples: int = option(
        25, Integer(1, MOST_PASSES), "Copies of the picture with random noise; more are smoother", unit="noisy copies"
    )
    noise: float = option(
        0.15, Number(0, 10), "Strength of the noise, as its standard deviation", unit="fraction of the input's range"
    )
    seed: int = seed_option()


def _cost(p: SmoothGrad, spec: InputSpec) -> Cost:
    """Return a forward pass of the picture, and one forward and backward pass per noisy copy."""
    return Cost(1 + p.samples, p.samples)


def smooth_grad(subject: Subject, p: SmoothGrad) -> Steps:
    """Mean gradient, with its sign, over noisy copies of the input, [T, C, H, W] (Smilkov et al. 2017)."""
    total = yield from _accumulate(subject, p, lambda grads: grads.sum(1), torch.add)
    return Maps(total / p.samples)


def smooth_grad_squared(subject: Subject, p: SmoothGrad) -> Steps:
    """Mean squared gradient over noisy copies of the input, [T, C, H, W] (Hooker et al. 2019)."""
    total = yield from _accumulate(subject, p, lambda grads: grads.square().sum(1), torch.add)
    return Maps(total / p.samples)


def var_grad(subject: Subject, p: SmoothGrad) -> Steps:
    """Variance of the gradient over noisy copies of the input, [T, C, H, W] (Adebayo et al. 2018).

    The sum of squared distances is divided by the number of copies, without Bessel's correction.
    """
    moments = yield from _accumulate(subject, p, _Moments.of, _Moments.merge)
    return Maps(moments.squares / p.samples)


def noisy_copies(x: Tensor, samples: int, noise: float, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield noisy copies of `x` [1, C, H, W] in chunks [n, C, H, W]; `noise` is a fraction of the range of `x`."""
    deviation = noise * (x.max() - x.min())
    for start in range(0, samples, CHUNK):
        shape = min(CHUNK, samples - start), *x.shape[1:]
        yield x + deviation * torch.randn(shape, generator=generator, dtype=x.dtype, device=x.device)


def _accumulate(
    subject: Subject, p: SmoothGrad, summarize: Callable[[Tensor], T], merge: Callable[[T, T], T]
) -> Generator[Rows, Answer, T]:
    """Return `summarize` of the noisy copies' gradients [T, n, C, H, W], merged over all chunks."""
    clean = yield Rows(subject.x, subject.objective, gradient=False)
    objective = subject.objective.fixed(clean.pairs[0])
    total: T | None = None
    for noisy in noisy_copies(subject.x, p.samples, p.noise, seeded(p.seed, subject.x)):
        answer = yield Rows(noisy, objective)
        part = summarize(answer.grad)
        total = part if total is None else merge(total, part)
    assert total is not None
    return total


@dataclass(frozen=True)
class _Moments:
    """The mean of `count` gradients and the sum of their squared distances from it, [T, C, H, W] each.

    The mean of squares minus the square of the mean would lose all digits if the gradients hardly differ.
    """

    count: int
    mean: Tensor
    squares: Tensor

    @classmethod
    def of(cls, grads: Tensor) -> _Moments:
        """Return the moments of gradients [T, n, C, H, W]."""
        mean = grads.mean(1)
        return cls(grads.shape[1], mean, (grads - mean[:, None]).square().sum(1))

    def merge(self, other: _Moments) -> _Moments:
        """Return the moments of both sets of gradients together (Chan et al. 1979)."""
        count = self.count + other.count
        difference = other.mean - self.mean
        return replace(
            self,
            count=count,
            mean=self.mean + difference * (other.count / count),
            squares=self.squares + other.squares + difference.square() * (self.count * other.count / count),
        )


SMOOTH_GRAD_METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "smooth_grad": Method(
            smooth_grad,
            SmoothGrad,
            "Smilkov et al. 2017, arXiv:1706.03825",
            "How the score changes with each pixel, averaged over noisy copies of the picture",
            cost=_cost,
            local=True,
        ),
        "smooth_grad_squared": Method(
            smooth_grad_squared,
            SmoothGrad,
            "Hooker et al. 2019, arXiv:1806.10758",
            "How strongly the score reacts to each pixel in noisy copies, up or down",
            cost=_cost,
            local=True,
            signed=False,
        ),
        "var_grad": Method(
            var_grad,
            SmoothGrad,
            "Adebayo et al. 2018, arXiv:1810.03307",
            "How much the effect of each pixel varies between noisy copies of the picture",
            cost=_cost,
            local=True,
            signed=False,
        ),
    }
)
