"""The files of an archive, staged in a temporary folder and packed by torch-model-archiver."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import yaml

from torchserve_saliency.model.architectures import TIMM, timm_module
from torchserve_saliency.model.archive import HEADS_FILE, LABELS_FILE
from torchserve_saliency_cli.archiving.arguments import ArchiveArguments, UsageError
from torchserve_saliency_cli.archiving.own_files import place_in_archive
from torchserve_saliency_cli.archiving.sources import Source
from torchserve_saliency_cli.files import engine_folder

ENGINE = "torchserve_saliency"
HANDLER = engine_folder() / "saliency_handler.py"
CHECK = "self_check.json"
COMPILING_SECONDS = 1800  # forward and backward of four batch sizes are compiled; TorchServe's default is two minutes
_TIMM_PARTS = ("models", "layers", "data", "utils")  # the imports of `import timm`, without training and word lists
_SKIPPED = shutil.ignore_patterns("__pycache__", "*.pyc", ".*", "_info")


def pack(source: Source, args: ArchiveArguments, folder: Path) -> Path:
    """Write the archive without the self-check's figures; return its path, below `folder`."""
    stage, out, scratch = (folder / name for name in ("stage", "out", "scratch"))
    for new in (stage / "extra", out, scratch):
        new.mkdir(parents=True)
    weights = stage / f"{args.model_name}.pt"
    if args.scripted:
        shutil.copyfile(args.weights, weights)
    else:
        torch.save(source.network.state_dict(), weights)
    model_file = args.model_file
    if source.code is not None:
        model_file = stage / "network.py"
        model_file.write_text(source.code, encoding="utf-8")
    config = stage / "model-config.yaml"
    config.write_text(yaml.safe_dump(configuration(source, args), sort_keys=False), encoding="utf-8")
    _stage_extra(source, args.head_labels, stage / "extra")
    _stage_own_files(args, stage / "extra")
    files = {
        "--model-name": args.model_name,
        "--version": args.version,
        "--serialized-file": str(weights),
        "--handler": str((args.handler or HANDLER).resolve()),
        "--extra-files": str(stage / "extra"),
        "--config-file": str(config),
        "--export-path": str(out),
        "--archive-format": args.archive_format,
        **({"--model-file": str(model_file.resolve())} if model_file else {}),
        **({"--requirements-file": str(args.requirements_file)} if args.requirements_file else {}),
    }
    _run_archiver([word for pair in files.items() for word in pair], scratch)
    return out / f"{args.model_name}.mar"


def configuration(source: Source, args: ArchiveArguments) -> dict[str, object]:
    """Return the content of model-config.yaml: TorchServe's keys, and the section `handler` of ours."""
    handler = {
        "arch": source.arch,
        "arguments": _plain(source.arguments or {}) or None,
        "class": source.class_,
        "changes": _plain(source.changes) or None,
        "extra_files": [place_in_archive(path) for path in args.extra_files] or None,
        "logits": args.logits,
        "activation": _plain(args.activation) if args.activation else None,
        "input": _plain(dataclasses.asdict(source.input)),
        "limits": dict(args.limits) or None,
        "precision": None if args.precision == "fp32" else args.precision,
    }
    return {
        "minWorkers": args.workers,
        "maxWorkers": args.workers,
        "batchSize": args.batch_size,
        "maxBatchDelay": args.max_batch_delay,
        "responseTimeout": args.response_timeout,
        **(_compilation(args.compile) if args.compile else {}),
        "handler": {key: value for key, value in handler.items() if value is not None} | dict(args.defaults),
    }


def _compilation(mode: str) -> dict[str, object]:
    """Return TorchServe's keys for a network that is compiled when it is loaded, which takes minutes."""
    return {
        "startupTimeout": COMPILING_SECONDS,
        "pt2": {"compile": {"enable": True, "backend": "inductor", "mode": mode}},
    }


def add_check(mar: Path, figures: Mapping[str, object]) -> None:
    """Add the self-check's figures to an archive."""
    with zipfile.ZipFile(mar, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(CHECK, json.dumps(figures, indent=2) + "\n")


def deliver(mar: Path, place: Path) -> None:
    """Copy the archive to its place in one step, so that no part of it is ever seen there."""
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        shutil.copyfile(mar, partial)
        partial.replace(place)
    finally:
        partial.unlink(missing_ok=True)


def _stage_extra(source: Source, head_labels: Mapping[str, Sequence[str]], extra: Path) -> None:
    """Copy the engine and the labels, and timm if the network is one of timm's."""
    shutil.copytree(engine_folder() / ENGINE, extra / ENGINE, ignore=_SKIPPED)
    if source.labels is not None:
        names = {str(index): name for index, name in enumerate(source.labels)}
        (extra / LABELS_FILE).write_text(json.dumps(names, indent=0), encoding="utf-8")
    if head_labels:
        (extra / HEADS_FILE).write_text(json.dumps(head_labels, indent=0), encoding="utf-8")
    if source.arch and source.arch.startswith(TIMM):
        _stage_timm(extra / "timm")


def _stage_own_files(args: ArchiveArguments, extra: Path) -> None:
    """Copy the user's extra files; folders keep their names. A handler of the user needs the one that it extends."""
    for path in args.extra_files:
        place = extra / place_in_archive(path)
        place.parent.mkdir(exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, place, ignore=_SKIPPED)
        else:
            shutil.copy(path, place)
    if args.handler:
        shutil.copy(HANDLER, extra)


def _stage_timm(to: Path) -> None:
    """Copy the parts of the installed timm that its networks need, and its licence."""
    with timm_module() as timm:
        installed = Path(str(timm.__file__)).parent
    for part in _TIMM_PARTS:
        shutil.copytree(installed / part, to / part, ignore=_SKIPPED)
    for file in installed.glob("*.py"):
        shutil.copy(file, to)
    licences = [f for f in importlib.metadata.files("timm") or () if f.name.startswith("LICENSE")]
    if not licences:
        raise UsageError("timm is installed without its licence, which must be in the archive")
    shutil.copy(str(licences[0].locate()), to / "LICENSE")


def _run_archiver(words: list[str], scratch: Path) -> None:
    """Run torch-model-archiver with a TMPDIR of its own, since it deletes the folder of the model's name there."""
    done = subprocess.run(
        [sys.executable, "-m", "model_archiver.model_packaging", *words],
        cwd=scratch,
        env={**os.environ, "TMPDIR": str(scratch)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise UsageError(f"torch-model-archiver failed: {done.stderr.strip()[-2000:]}")


def _plain(value: object) -> object:
    """Return a value for YAML, with lists for tuples."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, tuple | list) else value
