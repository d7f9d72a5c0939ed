"""Objects of classes that cannot be imported when a checkpoint is read, as those of training code."""

from __future__ import annotations

import argparse
import datetime
import functools
import pathlib
import sys
import types
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

_CODE = """
import enum

class AttributeDict(dict):
    def __getattr__(self, key):
        return self[key]

class ListConfig(list):
    pass

class Kind(enum.Enum):
    BEST = 1

class Slotted:
    __slots__ = ("a",)

class Config:
    def __init__(self, **values):
        self.__dict__.update(values)

def hook(x):
    return x
"""


@contextmanager
def training_library(name: str = "absent_training_library") -> Iterator[types.ModuleType]:
    """Yield a module that exists only inside the context, in which objects of its classes can be saved."""
    module = types.ModuleType(name)
    exec(compile(_CODE, name, "exec"), module.__dict__)
    sys.modules[name] = module
    try:
        yield module
    finally:
        del sys.modules[name]


def training_leftovers(library: types.ModuleType) -> dict[str, object]:
    """Return what training code keeps beside the weights: arguments, paths, configurations, counters, states."""
    slotted = library.Slotted()
    slotted.a = 3
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(2))], lr=0.1, momentum=0.9)
    return {
        "epoch": 3,
        "args": argparse.Namespace(data=pathlib.PosixPath("/data"), opt=["--lr", 0.1], seen=defaultdict(list, a=[1])),
        "hyper_parameters": library.AttributeDict(lr=0.1, inner=library.AttributeDict(x=1), loss=nn.CrossEntropyLoss()),
        "config": library.Config(_content={"a": library.ListConfig([1, 2])}, flags={"x"}, kind=library.Kind.BEST),
        "slotted": slotted,
        "hook": library.hook,
        "make_optimizer": functools.partial(torch.optim.SGD, lr=0.1),
        "best": np.float64(3.5),
        "history": np.arange(3.0),
        "random": [np.random.RandomState(0).get_state(), np.random.default_rng(0), torch.get_rng_state()],
        "when": datetime.datetime(2024, 2, 29),
        "types": [np.dtype("f4"), torch.float16, torch.device("cpu"), torch.Size([1, 2]), torch.optim.SGD],
        "plain": [Counter("aab"), frozenset([1]), 1j, range(3), slice(1, 2), b"abc", 2**70],
        "optimizer_states": [optimizer.state_dict()],
    }
