"""Weights as people have them."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch
from torch import nn

from tools.cases.case import Case, check
from tools.cases.checkpoint_files import (
    ARCH,
    TIMM_ARCH,
    Calling,
    archived,
    check_equal,
    check_refused,
    found,
    leftovers,
    prefixed,
    trained,
)
from tools.cases.workshop import Workshop
from torchserve_saliency.errors import ModelError

_FOLDED = 1e-4  # batch norms are folded into convolutions at load, which rounds
_PREFIXES = ("model.", "net.", "backbone.", "module.", "_orig_mod.", "model._orig_mod.", "model._orig_mod.module.", "")


def _lightning(workshop: Workshop) -> str:
    network = trained()
    beside = {"loss_fn.pos_weight": torch.ones(3), "train_acc.correct": torch.zeros(3), "class_weights": torch.ones(3)}
    for prefix in _PREFIXES:
        checkpoint = {"state_dict": {**prefixed(prefix, network.state_dict()), **beside}}
        check_equal(found(workshop, checkpoint).network, network)
    split = {
        f"head.{name[3:]}" if name.startswith("fc.") else f"encoder.{name}": value
        for name, value in network.state_dict().items()
    }
    check_equal(found(workshop, {"state_dict": {**split, **beside}}).network, network)
    state = {**prefixed("model._orig_mod.", network.state_dict()), **beside}
    done = archived(workshop, {"pytorch-lightning_version": "2.4.0", "state_dict": state})
    check_equal(workshop.handler(done).network, network, tolerance=_FOLDED)
    for words in ("'state_dict' of the file, prefix 'model.' removed", "left over   loss_fn.pos_weight"):
        check(words in done.output, f"{words} is not in the summary: {done.output}")
    return f"{len(_PREFIXES)} prefixes, and a head beside the backbone: outputs equal; left over: loss_fn.pos_weight, …"


def _objects(workshop: Workshop) -> str:
    network = trained()
    checkpoint = {**leftovers(), "state_dict": network.state_dict()}
    check_equal(found(workshop, checkpoint).network, network)
    old = workshop.folder / "old.pth.tar"
    torch.save(checkpoint, old, _use_new_zipfile_serialization=False)
    check_equal(found(workshop, old).network, network)
    done = archived(workshop, {**checkpoint, "arch": ARCH, "state_dict": prefixed("module.", network.state_dict())})
    check_equal(workshop.handler(done).network, network, tolerance=_FOLDED)
    _check_that_nothing_runs(workshop, network)
    return "Namespace, paths, arrays, enums, functions: read, outputs equal; a file that would create a marker does not"


def _check_that_nothing_runs(workshop: Workshop, network: nn.Module) -> None:
    """Raise AssertionError if code of a file runs, in the file itself or inside allowed objects."""
    marker = workshop.folder / "marker"
    calls = (
        Calling(os.system, (f"touch {marker}",)),
        Calling(exec, (f"open({str(marker)!r}, 'w')",)),
        Calling(getattr, (Calling(__import__, ("os",)), "system")),
        Calling(Path.touch, (marker,)),
        Calling(torch.save, (3, str(marker))),
    )
    for call in calls:
        for value in (call, argparse.Namespace(x=call), {"a": [call]}, {call: 1}, argparse.Namespace(y={"z": call})):
            path = workshop.save("harmful.pt", {"state_dict": network.state_dict(), "args": value})
            try:
                check_equal(found(workshop, path).network, network)
            except ModelError as error:
                check("read safely: it would call" in str(error), f"refused for another reason: {error}")
            check(not marker.exists(), f"a call of {call.call[0]} was made")


def _averages(workshop: Workshop) -> str:
    plain, average = trained(0), trained(1)
    state, ema = plain.state_dict(), average.state_dict()
    for key in ("params", "ema", "weights", "net", "model_state_dict", "generator", "anything"):
        check_equal(found(workshop, {"epoch": 3, key: state}).network, plain)
    for key, other in (("params", "params_ema"), ("model", "ema"), ("model", "model_ema"), ("net", "swa_model")):
        checkpoint = {key: state, other: prefixed("module.", ema)}
        check_equal(found(workshop, checkpoint).network, average)
        check_equal(found(workshop, checkpoint, "--state", key).network, plain)
    parameters = {name: ema[name] for name, _ in average.named_parameters()}
    mixed = trained()
    mixed.load_state_dict({**state, **parameters})
    check_equal(found(workshop, {"model": state, "ema": {"decay": 0.9, "shadow": parameters}}).network, mixed)
    check_refused(workshop, {"student": state, "teacher": ema}, "'student', 'teacher'", "--state")
    done = archived(workshop, {"state_dict": state, "state_dict_ema": ema})
    check_equal(workshop.handler(done).network, average, tolerance=_FOLDED)
    check("it also has state_dict: --state KEY" in done.output, f"the other weights are not named: {done.output}")
    return "state_dict_ema taken and named, --state state_dict takes the other; any key; two that fit: refused by name"


def _heads(workshop: Workshop) -> str:
    network = trained()
    network.fc = nn.Sequential(nn.Dropout(), nn.Linear(1024, 4))
    done = archived(workshop, network.state_dict())
    check_equal(workshop.handler(done).network, network, tolerance=_FOLDED)
    for arch, features in ((ARCH, 1024), (TIMM_ARCH, 96)):
        network = trained(arch=arch)
        network.fc = nn.Sequential(nn.Dropout(), nn.Linear(features, 4))
        check_equal(found(workshop, network.state_dict(), arch=arch).network, network)
        network.fc = nn.Sequential(nn.Linear(features, 8), nn.BatchNorm1d(8), nn.GELU(), nn.Dropout(), nn.Linear(8, 4))
        state = network.state_dict()
        check_refused(workshop, state, "--head-activation", "fc.4", arch=arch)
        check_equal(found(workshop, state, "--head-activation", "gelu", arch=arch).network, network)
        network.fc = nn.Sequential(nn.Linear(features, 8), nn.PReLU(), nn.Linear(8, 4))
        state = network.state_dict()
        check_refused(workshop, state, "--model-file", "fc.1", arch=arch)
    return "built, outputs equal, torchvision and timm; two linear layers need --head-activation; others: --model-file"


def _channels(workshop: Workshop) -> str:
    for channels in (1, 4):
        values = ",".join(["0.5"] * channels)
        flags = ("--mean", values, "--std", values)
        grey = trained()
        stem = grey.get_submodule("conv1")
        assert isinstance(stem, nn.Sequential)
        stem[0] = nn.Conv2d(channels, 24, 3, 2, 1, bias=False)
        check_equal(found(workshop, grey.state_dict(), *flags).network, grey, channels)
        _check_that_mean_is_asked_for(workshop, grey, channels)
        network = trained(arch=TIMM_ARCH, in_chans=channels)
        check_equal(found(workshop, network.state_dict(), *flags, arch=TIMM_ARCH).network, network, channels)
        if channels == 1:
            done = archived(workshop, grey.state_dict(), *flags)
            check_equal(workshop.handler(done).network, grey, 1, _FOLDED)
    return "1 and 4 channels, torchvision and timm: built, outputs equal; without --mean and --std they are asked for"


def _check_that_mean_is_asked_for(workshop: Workshop, network: nn.Module, channels: int) -> None:
    """Raise AssertionError if the command takes a network of other channels without its mean and std."""
    path = workshop.save("last.ckpt", network.state_dict())
    done = workshop.archive("--arch", ARCH, "--weights", path)
    check(done.status == 2 and f"has {channels} input channel" in done.output, done.output)
    check("--mean 0.5" in done.output, done.output)


def _whole_module(workshop: Workshop) -> str:
    network = trained()
    for checkpoint in (network, {"model": network, "epoch": 3}, [network]):
        done = workshop.archive("--arch", ARCH, "--weights", workshop.save("whole.pt", checkpoint))
        check(done.status == 1, f"status {done.status}")
        for words in ("a whole module was pickled", "model.state_dict()", "ShuffleNetV2"):
            check(words in done.output, f"{words} is not in: {done.output}")
        check("\x1b" not in done.output and "weights_only" not in done.output, done.output)
    return "refused: a whole module was pickled (its class is named), save model.state_dict() instead"


CASES: tuple[Case, ...] = (
    Case("B1", "a Lightning .ckpt: names begin with model., net., backbone., model._orig_mod.", _lightning),
    Case("B2", "argparse.Namespace, paths, arrays and other objects beside the weights", _objects),
    Case("B3", "weights under state_dict_ema, ema, params, …", _averages),
    Case("B4", "model.fc = Sequential(Dropout, Linear) with --arch", _heads),
    Case("B5", "a first convolution of one or four channels", _channels),
    Case("B6", "torch.save(model)", _whole_module),
)
