"""Random networks that can be explained: their heads are not zero, and their batch norms have statistics."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from torchserve_saliency.images.preprocessing import InputSpec


def with_random_heads(network: nn.Module) -> nn.Module:
    """Return the network after layers of zeros got seeded random weights, so that gradients pass them."""
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d) and not module.weight.any():
            nn.init.trunc_normal_(module.weight, std=0.02)
    return network


def calibrate_norms(network: nn.Module, spec: InputSpec) -> None:
    """Set the statistics of a random network's batch norms to those of seeded patterns.

    With initial statistics, activations vanish from layer to layer, and attention is uniform. If the network does not
    run, nothing changes; its dry run will report the error.
    """
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    network.eval()
    for norm in norms:
        norm.train().reset_running_stats()
        norm.momentum = None  # a cumulative average, not mixed with the initial 0 and 1
    try:
        with torch.no_grad():
            network(patterns(spec))
    except Exception:
        for norm in norms:
            norm.reset_running_stats()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.eval().momentum = momentum


def patterns(spec: InputSpec) -> Tensor:
    """Return seeded inputs [4, C, H, W] of standard deviation 1: two of coarse colours with fine noise, two of noise.

    If the norms have the statistics of only one of the two, the gradients of a deep network grow to 1e15 on the other.
    """
    generator = torch.Generator().manual_seed(0)
    coarse, fine = (torch.randn(2, spec.channels, *size, generator=generator) for size in ((6, 6), spec.size))
    soft = nn.functional.interpolate(coarse, spec.size, mode="bicubic") + 0.25 * fine
    noise = torch.randn(2, spec.channels, *spec.size, generator=generator)
    return torch.cat([(soft - soft.mean()) / soft.std(), noise])
