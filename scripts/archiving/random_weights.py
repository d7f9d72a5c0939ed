"""Random networks made fit to be explained: no head of zeros, no norm that has seen nothing."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from saliency.image import InputSpec


def wakened(network: nn.Module) -> nn.Module:
    """Return a random network whose heads that start at zero have seeded weights, so that gradients pass them."""
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d) and not module.weight.any():
            nn.init.trunc_normal_(module.weight, std=0.02)
    return network


def settle_norms(network: nn.Module, spec: InputSpec) -> None:
    """Set the statistics of a random network's batch norms to those of seeded patterns, as if it had seen pictures.

    Norms that have seen nothing pass on what vanishes from layer to layer, and attention comes out even everywhere. A
    network that does not run is left as it is: its dry run says why.
    """
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    network.eval()
    for norm in norms:
        norm.train().reset_running_stats()
        norm.momentum = None  # the mean of what is seen, and no part of 0 and 1
    try:
        with torch.no_grad():
            network(patterns(spec))
    except Exception:
        for norm in norms:
            norm.reset_running_stats()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.eval().momentum = momentum


def patterns(spec: InputSpec) -> Tensor:
    """Return seeded inputs [4, C, H, W] of deviation 1: two of soft colours under fine noise, two of noise alone.

    What norms know of the one kind only, a deep network blows up in the other: to 1e15 in its gradients.
    """
    generator = torch.Generator().manual_seed(0)
    coarse, fine = (torch.randn(2, spec.channels, *size, generator=generator) for size in ((6, 6), spec.size))
    soft = nn.functional.interpolate(coarse, spec.size, mode="bicubic") + 0.25 * fine
    noise = torch.randn(2, spec.channels, *spec.size, generator=generator)
    return torch.cat([(soft - soft.mean()) / soft.std(), noise])
