"""Calls of the functions and classes that make networks, with errors that say which of them failed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn

from torchserve_saliency.errors import ModelError


def build(builder: Callable[..., object], name: str | None, arguments: Mapping[str, object]) -> nn.Module:
    """Return the network that `builder` makes of the `name`, if any, and the arguments.

    Raise ModelError if it fails or returns no eager network.
    """
    shown = name or getattr(builder, "__name__", repr(builder))
    try:
        network = builder(**arguments) if name is None else builder(name, **arguments)
    except Exception as error:
        raise ModelError(f"'{shown}' cannot be built: {type(error).__name__}: {error}") from error
    if not isinstance(network, nn.Module) or not hookable(network):
        raise ModelError(f"'{shown}' is a {type(network).__name__}, not an eager nn.Module")
    return network


def hookable(network: nn.Module) -> bool:
    """Tell whether hooks and function modes work on a network; they do not on TorchScript."""
    return not isinstance(network, torch.jit.ScriptModule)


def suggestion(near: list[str]) -> str:
    """Return near matches of a name as the end of an error message."""
    return f"; did you mean {' or '.join(near)}?" if near else ""
