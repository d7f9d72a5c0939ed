"""Attention of transformers, followed from the tokens that are read back to the patches of the picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from saliency.attention import Attention
from saliency.methods.base import Maps, Method, Need, Steps, Subject, forward_alone
from saliency.methods.cams import upsampled
from saliency.methods.gradients import NoParameters
from saliency.rows import Rows
from saliency.schema import Choice, Number, option

FUSIONS = ("mean", "max", "min")


@dataclass(frozen=True)
class Rollout:
    """How a layer's heads become one matrix, and how much of it is left out."""

    head_fusion: str = option("mean", Choice(FUSIONS), "how heads become one")
    discard_ratio: float = option(0.0, Number(0, 0.99), "share of a layer's attention, the weakest, that is left out")


def attention_rollout(subject: Subject, p: Rollout) -> Steps:
    """Product of the layers' attention, each half residual, from the tokens read to the patches (Abnar, Zuidema 2020).

    It does not depend on the class: every target gets the same map.
    """
    answer = yield Rows(subject.x, subject.objective, gradient=False, mode=Attention())
    row = _reading(subject, answer.activations["attention 0"])
    for matrix in reversed(list(answer.activations.values())):
        mixed = _kept(_fused(matrix[0], p.head_fusion), p.discard_ratio)
        mixed = mixed + torch.eye(len(mixed)).to(mixed)
        row = row @ (mixed / mixed.sum(1, keepdim=True))
    return Maps(_on_patches(row, subject).expand(len(answer.pairs[0]), -1, -1, -1))


def generic_attention(subject: Subject, p: NoParameters) -> Steps:
    """Relevance R ← R + mean over heads of (∇A · A)⁺ · R, from the tokens read to the patches (Chefer et al. 2021).

    The tokens' relevance to themselves, which R starts with, is left out of the map.
    """
    answer = yield Rows(subject.x, subject.objective, mode=Attention(taps=True))
    start = _reading(subject, answer.activations["attention 0"])
    row = start.expand(len(answer.pairs[0]), 1, -1)
    for name, matrix in reversed(list(answer.activations.items())):
        row = row + row @ (answer.gradients[name][:, 0] * matrix).relu().mean(1)
    return Maps(_on_patches(row - start, subject))


def _reading(subject: Subject, like: Tensor) -> Tensor:
    """Return the row [1, t] that stands for the tokens that are read, evenly."""
    read = list(subject.attention.read)
    row = like.new_zeros(1, like.shape[-1])
    row[0, read] = 1 / len(read)
    return row


def _fused(heads: Tensor, fusion: str) -> Tensor:
    """Return matrices [heads, t, t] as one."""
    if fusion == "mean":
        return heads.mean(0)
    return heads.amax(0) if fusion == "max" else heads.amin(0)


def _kept(matrix: Tensor, discard_ratio: float) -> Tensor:
    """Return a matrix [t, t] with that share of its entries, the smallest, set to zero."""
    count = int(matrix.numel() * discard_ratio)
    smallest = matrix.flatten().topk(count, largest=False).indices
    return matrix.flatten().index_fill(0, smallest, 0).view_as(matrix)


def _on_patches(rows: Tensor, subject: Subject) -> Tensor:
    """Return the patches' part of rows [T, 1, t] or [1, t] as maps [T, 1, H, W]."""
    patches = rows[..., subject.attention.prefix :].reshape(-1, 1, *subject.attention.grid)
    return upsampled(patches, subject.x)


_NEEDS = (Need.HOOKS, Need.ATTENTION)
ATTENTION: Mapping[str, Method] = MappingProxyType(
    {
        "attention_rollout": Method(
            attention_rollout,
            Rollout,
            "Abnar and Zuidema 2020, arXiv:2005.00928",
            _NEEDS,
            forward_alone,
            class_blind=True,
        ),
        "generic_attention": Method(generic_attention, NoParameters, "Chefer et al. 2021, arXiv:2103.15679", _NEEDS),
    }
)
