"""Files of training code with objects of foreign classes: the weights are read, and nothing of the file runs."""

from __future__ import annotations

import os
import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.foreign import training_leftovers, training_library
from torchserve_saliency.errors import ModelError
from torchserve_saliency.model.checkpoint import read_mappings, read_state

WRITERS: dict[str, Callable[[object, Path], None]] = {
    "zip": torch.save,
    "protocol 4": lambda value, path: torch.save(value, path, pickle_protocol=4),
    "protocol 5": lambda value, path: torch.save(value, path, pickle_protocol=5),
    "before 1.6": lambda value, path: torch.save(value, path, _use_new_zipfile_serialization=False),
}

_MAGIC: tuple[object, ...] = (0x1950A86A20F9469CFC6C, 1001, {})  # what a legacy file of torch.save begins with


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    """Tell whether two state dicts have the same names and values."""
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("writer", WRITERS)
def test_b2_objects_beside_the_weights_do_not_stop_them(tmp_path: Path, writer: str) -> None:
    """B2: argparse.Namespace, paths, configurations, arrays, enums, functions, and states of optimizers."""
    state = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).state_dict()
    with training_library() as library:
        WRITERS[writer]({**training_leftovers(library), "state_dict": state}, tmp_path / "w.pt")
    found = read_mappings(tmp_path / "w.pt")["state_dict"]
    assert equal(dict(found), dict(state))
    assert found._metadata["1"] == {"version": 2}  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["parameter", "view", "half", "shared", "uint16", "subclass"])
def test_tensors_of_every_kind_keep_their_values(tmp_path: Path, kind: str) -> None:
    base = torch.arange(24.0).reshape(4, 6)
    tensors: dict[str, Tensor] = {
        "parameter": nn.Parameter(base, requires_grad=True),
        "view": base.t()[1:, ::2],
        "half": base.to(torch.bfloat16),
        "shared": base[1:],
        "uint16": base.to(torch.uint16),
        "subclass": base.as_subclass(Tagged),
    }
    value = tensors[kind]
    with training_library() as library:
        torch.save({"state": {"a": value, "b": base}, "kind": library.Kind.BEST}, tmp_path / "w.pt")
    found = read_mappings(tmp_path / "w.pt")["state"]
    assert found["a"].dtype == value.dtype
    assert torch.equal(found["a"].float(), value.detach().as_subclass(Tensor).float())


class Tagged(Tensor):
    """A subclass of Tensor, as libraries of images have them."""


def test_weights_inside_an_object_are_found(tmp_path: Path) -> None:
    state = nn.Linear(3, 2).state_dict()
    with training_library() as library:
        torch.save(library.Config(step=3, model=state), tmp_path / "w.pt")
    assert equal(dict(read_mappings(tmp_path / "w.pt")["model"]), dict(state))


def test_an_object_that_contains_itself_is_read(tmp_path: Path) -> None:
    with training_library() as library:
        config = library.Config()
        config.own = [config]
        torch.save({"config": config, "state": {"weight": torch.ones(2)}}, tmp_path / "w.pt")
    assert read_mappings(tmp_path / "w.pt")["state"]["weight"].tolist() == [1, 1]


class Calling:
    """Calls a function with arguments when it is unpickled."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def marking(marker: Path) -> dict[str, Calling]:
    """Return objects that would create `marker`, each in its own way."""
    command = f"touch {marker}"
    return {
        "os.system": Calling(os.system, (command,)),
        "subprocess": Calling(subprocess.call, (command.split(),)),
        "exec": Calling(exec, (f"open({str(marker)!r}, 'w')",)),
        "eval": Calling(eval, (f"open({str(marker)!r}, 'w')",)),
        "open": Calling(open, (str(marker), "w")),
        "method": Calling(Path.touch, (marker,)),
        "getattr": Calling(getattr, (Calling(__import__, ("os",)), "system")),
        "numpy": Calling(torch.save, (3, str(marker))),
        "state": Calling(Path, (str(marker),), Calling(os.system, (command,))),
    }


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("way", marking(Path("m")))
def test_no_code_of_a_file_runs(tmp_path: Path, way: str, writer: str) -> None:
    marker = tmp_path / "marker"
    harmful = marking(marker)[way]
    values: tuple[object, ...] = (
        {"w": torch.ones(1), "x": harmful},
        {"w": torch.ones(1), harmful: 1},
        harmful,
        [harmful] * 2,
    )
    for value in values:
        WRITERS[writer](value, tmp_path / "w.pt")
        try:
            read_state(tmp_path / "w.pt")
        except ModelError as error:
            assert "\x1b" not in str(error)
        assert not marker.exists()


def test_a_call_that_acts_on_the_machine_is_named(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(1), "x": Calling(os.system, ("true",))}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match=r"that can be read safely: it would call posix\.system$"):
        read_state(tmp_path / "w.pt")


@pytest.mark.parametrize(
    "stream",
    [
        b"cposix\nsystem\n(S'touch MARKER'\ntR.",  # protocol 0: GLOBAL and REDUCE
        b"(S'touch MARKER'\niposix\nsystem\n.",  # INST
        b"(cposix\nsystem\nS'touch MARKER'\no.",  # OBJ
        b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x0ctouch MARKER\x85R.",  # STACK_GLOBAL
        b"c__builtin__\ngetattr\n(cos\nsystem\nS'__call__'\ntR(S'touch MARKER'\ntR.",
        b"ccollections\nOrderedDict\n(N}S'pop'\nI1\nstb.",  # sets attributes of a class
        b"ctorch._utils\n_rebuild_tensor_v2\n(N}S'__code__'\nI1\nstb.",
    ],
)
def test_a_handmade_pickle_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: bytes) -> None:
    monkeypatch.chdir(tmp_path)
    header = b"".join(pickle.dumps(value, 2) for value in _MAGIC)
    for content in (stream, header + stream + pickle.dumps([], 2)):
        (tmp_path / "w.pt").write_bytes(content)
        with pytest.raises(ModelError):
            read_state(tmp_path / "w.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["w.pt"]
    assert hasattr(dict, "pop")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"\x89HDF\r\n\x1a\n" + bytes(80), "it is an HDF5 file"),
        (b"<!DOCTYPE html><html>", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\x1f\x8b\x08" + bytes(80), "it is compressed by gzip: unpack it first"),
        (b'{"epoch": 1}', "it is a text file in JSON"),
        (bytes(80), "it is damaged, or torch.save did not write it"),
        (pickle.dumps({"a": 1}, 4), "it was written by pickle, not by torch.save"),
        ((30).to_bytes(8, "little") + b'{"__metadata__": {}}' + bytes(30), r"give it the suffix \.safetensors"),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(ModelError, match=reason):
        read_state(tmp_path / "w.pt")


def test_a_damaged_file_is_an_error(tmp_path: Path) -> None:
    with training_library() as library:
        torch.save({"state": nn.Linear(30, 20).state_dict(), "kind": library.Kind.BEST}, tmp_path / "w.pt")
    whole = (tmp_path / "w.pt").read_bytes()
    for length in (len(whole) // 3, len(whole) - 30):
        (tmp_path / "w.pt").write_bytes(whole[:length])
        with pytest.raises(ModelError, match="not a state dict that can be read safely"):
            read_state(tmp_path / "w.pt")
