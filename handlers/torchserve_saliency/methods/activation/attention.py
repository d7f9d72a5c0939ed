"""Attention of vision transformers, from the output tokens, which the network's head reads, back to the patches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from torchserve_saliency.engine.rows import Rows
from torchserve_saliency.methods.activation.grad_cams import upsample
from torchserve_saliency.methods.base import Maps, Method, Need, NoParameters, Steps, Subject, forward_only
from torchserve_saliency.propagation.attention_capture import Attention
from torchserve_saliency.schema import Choice, Number, option

FUSIONS = ("mean", "max", "min")


@dataclass(frozen=True)
class Rollout:
    """The fusion of a layer's heads into one matrix, and the share of weak attention to discard."""

    head_fusion: str = option("mean", Choice(FUSIONS), "How the attention heads of a layer are combined")
    discard_ratio: float = option(
        0.0, Number(0, 0.99), "Fraction of the attention to ignore in each layer, weakest first"
    )


def attention_rollout(subject: Subject, p: Rollout) -> Steps:
    """Product of all layers' attention matrices, each averaged with the identity for the residual connection.

    Abnar and Zuidema 2020. The map is the part from the output tokens to the patches, and it is the same for every
    class.
    """
    answer = yield Rows(subject.x, subject.objective, gradient=False, mode=Attention())
    row = _read_tokens(subject, answer.activations["attention 0"])
    for matrix in reversed(list(answer.activations.values())):
        mixed = _discard_smallest(_fuse_heads(matrix[0], p.head_fusion), p.discard_ratio)
        mixed = mixed + torch.eye(len(mixed)).to(mixed)
        row = row @ (mixed / mixed.sum(1, keepdim=True))
    return Maps(_patch_maps(row, subject).expand(len(answer.pairs[0]), -1, -1, -1))


def generic_attention(subject: Subject, p: NoParameters) -> Steps:
    """Relevance of the patches to the output tokens, by attention times its gradient (Chefer et al. 2021).

    From R = I, each layer with attention A and gradient ∇A updates R ← R + mean over heads of (∇A · A)⁺ · R. The map
    is R - I, from the output tokens to the patches.
    """
    answer = yield Rows(subject.x, subject.objective, mode=Attention(captures=True))
    start = _read_tokens(subject, answer.activations["attention 0"])
    row = start.expand(len(answer.pairs[0]), 1, -1)
    for name, matrix in reversed(list(answer.activations.items())):
        row = row + row @ (answer.gradients[name][:, 0] * matrix).relu().mean(1)
    return Maps(_patch_maps(row - start, subject))


def _read_tokens(subject: Subject, like: Tensor) -> Tensor:
    """Return a row [1, t] with equal weights, which sum to 1, for the output tokens, and 0 for other tokens."""
    read = list(subject.attention.read)
    row = like.new_zeros(1, like.shape[-1])
    row[0, read] = 1 / len(read)
    return row


def _fuse_heads(heads: Tensor, fusion: str) -> Tensor:
    """Return matrices [heads, t, t] fused into one [t, t]."""
    if fusion == "mean":
        return heads.mean(0)
    return heads.amax(0) if fusion == "max" else heads.amin(0)


def _discard_smallest(matrix: Tensor, discard_ratio: float) -> Tensor:
    """Return a matrix [t, t] with this share of its entries set to zero, smallest first."""
    count = int(matrix.numel() * discard_ratio)
    smallest = matrix.flatten().topk(count, largest=False).indices
    return matrix.flatten().index_fill(0, smallest, 0).view_as(matrix)


def _patch_maps(rows: Tensor, subject: Subject) -> Tensor:
    """Return the patch entries of rows [T, 1, t] or [1, t] as maps [T, 1, H, W]."""
    patches = rows[..., subject.attention.prefix :].reshape(-1, 1, *subject.attention.grid)
    return upsample(patches, subject.x)


_NEEDS = (Need.HOOKS, Need.ATTENTION)
ATTENTION_METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "attention_rollout": Method(
            attention_rollout,
            Rollout,
            "Abnar and Zuidema 2020, arXiv:2005.00928",
            "The parts of the picture that the network attends to, the same for every class",
            _NEEDS,
            forward_only,
            class_specific=False,
            signed=False,
        ),
        "generic_attention": Method(
            generic_attention,
            NoParameters,
            "Chefer et al. 2021, arXiv:2103.15679",
            "The parts of the picture that the network attends to and that raise the score",
            _NEEDS,
            signed=False,
        ),
    }
)
