"""Checkpoints as training code writes them, and the comparison of an archive's network with the trained one."""

from __future__ import annotations

import argparse
import datetime
import enum
import functools
import pathlib
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision import models

from tools.cases.case import SkippedCaseError, check
from tools.cases.workshop import Archived, Workshop
from torchserve_saliency.errors import ModelError
from torchserve_saliency_cli.archiving.building import Source
from torchserve_saliency_cli.archiving.command_line import read_arguments
from torchserve_saliency_cli.archiving.sources import find_source

ARCH, TIMM_ARCH, SIDE, CLASSES = "shufflenet_v2_x0_5", "timm:test_resnet", 32, 3
SIZE = ("--input-size", str(SIDE), "--resize", str(SIDE))


class Phase(enum.Enum):
    """An enumeration of training code."""

    BEST = "best"


class Config(dict[str, object]):
    """A configuration of training code, in the way of Lightning's AttributeDict."""


class Calling:
    """An object that calls a function when it is unpickled."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def trained(seed: int = 0, arch: str = ARCH, **arguments: object) -> nn.Module:
    """Return a network with seeded weights and statistics in place of a trained one."""
    torch.manual_seed(seed)
    options = {"num_classes": CLASSES, **arguments}
    network = _timm(arch, options) if arch.startswith("timm:") else models.get_model(arch, **options)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None and module.running_var is not None:
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return network.eval()


def _timm(arch: str, options: Mapping[str, object]) -> nn.Module:
    try:
        import timm
    except ImportError as error:
        raise SkippedCaseError("timm is not installed") from error
    create: Callable[..., nn.Module] = timm.create_model
    return create(arch.removeprefix("timm:"), **options)


def prefixed(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict with a prefix before its names."""
    return {f"{prefix}{name}": value for name, value in state.items()}


def leftovers() -> dict[str, object]:
    """Return objects that training code keeps beside the weights, most of which `weights_only=True` refuses."""
    optimizer = torch.optim.AdamW([nn.Parameter(torch.ones(2))], lr=0.1)
    return {
        "epoch": 3,
        "pytorch-lightning_version": "2.4.0",
        "hyper_parameters": Config(lr=0.1, loss=nn.CrossEntropyLoss(), root=pathlib.PosixPath("/data")),
        "args": argparse.Namespace(output=pathlib.PosixPath("/out"), device=torch.device("cpu"), seen={1, 2}),
        "callbacks": {"Checkpoint": {"best_score": torch.tensor(0.5), "kept": deque([1]), "phase": Phase.BEST}},
        "loops": {"fit_loop": {"state_dict": {}, "progress": Counter("aab"), "done": defaultdict(list, a=[1])}},
        "metric": np.float64(0.9),
        "history": np.arange(3.0),
        "random": [np.random.default_rng(0), torch.get_rng_state()],
        "when": datetime.datetime(2024, 2, 29, tzinfo=datetime.timezone.utc),
        "make_optimizer": functools.partial(torch.optim.SGD, lr=0.1),
        "kinds": [torch.float16, torch.Size([1, 2]), np.dtype("f4"), complex(1, 2), range(3), b"abc", OrderedDict(a=1)],
        "optimizer": optimizer.state_dict(),
    }


def found(workshop: Workshop, checkpoint: object, *flags: object, arch: str = ARCH, name: str = "last.ckpt") -> Source:
    """Return the network that would be archived for a checkpoint; raise ModelError if it is refused."""
    path = workshop.save(name, checkpoint) if not isinstance(checkpoint, Path) else checkpoint
    words = ("--model-name", "net", "--arch", arch, "--weights", path, *SIZE, *flags)
    return find_source(read_arguments([str(word) for word in words]))


def archived(workshop: Workshop, checkpoint: object, *flags: object, arch: str = ARCH) -> Archived:
    """Archive the network of a checkpoint by the command."""
    path = workshop.save("last.ckpt", checkpoint) if not isinstance(checkpoint, Path) else checkpoint
    return workshop.archive("--arch", arch, "--weights", path, *SIZE, "--directions", 1, *flags)


def check_equal(network: nn.Module, expected: nn.Module, channels: int = 3, tolerance: float = 0) -> None:
    """Raise AssertionError if the outputs of two networks differ, relative to the largest, by more than `tolerance`."""
    x = torch.randn(2, channels, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        right, given = expected.eval()(x), network.eval()(x)
    check(given.shape == right.shape, f"outputs {list(given.shape)}, not {list(right.shape)}")
    error = float((given - right).abs().max() / right.abs().max())
    check(error <= tolerance, f"the outputs differ by {error:.1e} from those of the trained network")


def check_refused(
    workshop: Workshop, checkpoint: object, *words: str, flags: Sequence[str] = (), arch: str = ARCH
) -> str:
    """Return the message that refuses a checkpoint; raise AssertionError if it is taken, or a word is missing."""
    try:
        found(workshop, checkpoint, *flags, arch=arch)
    except ModelError as error:
        message = str(error)
        check("\x1b" not in message, "the message has terminal codes")
        missing = [word for word in words if word not in message]
        check(not missing, f"{missing} not named in: {message}")
        return message
    raise AssertionError("not refused")
