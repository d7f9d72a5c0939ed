"""An archive's files, laid out and packed by torch-model-archiver; everything happens in a folder that is given."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
import yaml

from saliency.networks import TIMM, timm_module
from scripts.archiving.arguments import UsageError, Wanted
from scripts.archiving.sources import Source

HANDLERS = Path(__file__).resolve().parents[2] / "handlers"
CHECK = "self_check.json"
COMPILING_SECONDS = 1800  # for forward and backward of four batch sizes; TorchServe itself gives a worker two minutes
_TIMM_PARTS = ("models", "layers", "data", "utils")  # what `import timm` imports: no training, no word lists
_SKIPPED = shutil.ignore_patterns("__pycache__", "*.pyc", ".*", "_info")


def pack(source: Source, wanted: Wanted, folder: Path) -> Path:
    """Return the .mar written under `folder`, self-contained but for the self-check."""
    stage, out, scratch = (folder / name for name in ("stage", "out", "scratch"))
    for made in (stage / "extra", out, scratch):
        made.mkdir(parents=True)
    weights = stage / f"{wanted.name}.pt"
    if wanted.scripted:
        shutil.copyfile(wanted.weights, weights)
    else:
        torch.save(source.network.state_dict(), weights)
    config = stage / "model-config.yaml"
    config.write_text(yaml.safe_dump(configuration(source, wanted), sort_keys=False), encoding="utf-8")
    _stage_extra(source, stage / "extra")
    files = {
        "--model-name": wanted.name,
        "--version": wanted.version,
        "--serialized-file": str(weights),
        "--handler": str(HANDLERS / "saliency_handler.py"),
        "--extra-files": str(stage / "extra"),
        "--config-file": str(config),
        "--export-path": str(out),
        "--archive-format": wanted.archive_format,
        **({"--model-file": str(wanted.model_file.resolve())} if wanted.model_file else {}),
    }
    _run_archiver([word for pair in files.items() for word in pair], scratch)
    return out / f"{wanted.name}.mar"


def configuration(source: Source, wanted: Wanted) -> dict[str, object]:
    """Return the content of model-config.yaml: TorchServe's own keys, and section `handler`."""
    described = {
        "arch": source.arch,
        "arguments": _plain(source.arguments or {}) or None,
        "logits": wanted.logits,
        "input": _plain(dataclasses.asdict(source.input)),
        "limits": dict(wanted.limits) or None,
        "precision": None if wanted.precision == "fp32" else wanted.precision,
    }
    return {
        "minWorkers": wanted.workers,
        "maxWorkers": wanted.workers,
        "batchSize": wanted.batch_size,
        "maxBatchDelay": wanted.max_batch_delay,
        "responseTimeout": wanted.response_timeout,
        **(_compiling(wanted.compile) if wanted.compile else {}),
        "handler": {key: value for key, value in described.items() if value is not None} | dict(wanted.defaults),
    }


def _compiling(mode: str) -> dict[str, object]:
    """Return TorchServe's keys for a network that is compiled when it is loaded, which takes minutes."""
    return {
        "startupTimeout": COMPILING_SECONDS,
        "pt2": {"compile": {"enable": True, "backend": "inductor", "mode": mode}},
    }


def add_check(mar: Path, figures: Mapping[str, object]) -> None:
    """Write the self-check's figures into an archive; nothing else in it changes."""
    with zipfile.ZipFile(mar, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(CHECK, json.dumps(figures, indent=2) + "\n")


def deliver(mar: Path, place: Path) -> None:
    """Put the archive in its place, whole or not at all."""
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        shutil.copyfile(mar, partial)
        partial.replace(place)
    finally:
        partial.unlink(missing_ok=True)


def _stage_extra(source: Source, extra: Path) -> None:
    """Lay out the engine, the labels, and timm where the network is timm's."""
    shutil.copytree(HANDLERS / "saliency", extra / "saliency", ignore=_SKIPPED)
    if source.labels is not None:
        names = {str(index): name for index, name in enumerate(source.labels)}
        (extra / "index_to_name.json").write_text(json.dumps(names, indent=0), encoding="utf-8")
    if source.arch and source.arch.startswith(TIMM):
        _stage_timm(extra / "timm")


def _stage_timm(to: Path) -> None:
    """Copy the parts of the installed timm that its networks need, with its licence."""
    with timm_module() as timm:
        installed = Path(str(timm.__file__)).parent
    for part in _TIMM_PARTS:
        shutil.copytree(installed / part, to / part, ignore=_SKIPPED)
    for file in installed.glob("*.py"):
        shutil.copy(file, to)
    licences = [f for f in importlib.metadata.files("timm") or () if f.name.startswith("LICENSE")]
    if not licences:
        raise UsageError("timm is installed without its licence, which must go into the archive with it")
    shutil.copy(str(licences[0].locate()), to / "LICENSE")


def _run_archiver(words: list[str], scratch: Path) -> None:
    """Run torch-model-archiver, which empties a folder of the model's name in TMPDIR: it gets one of its own."""
    ran = subprocess.run(
        [sys.executable, "-m", "model_archiver.model_packaging", *words],
        cwd=scratch,
        env={**os.environ, "TMPDIR": str(scratch)},
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode:
        raise UsageError(f"torch-model-archiver failed: {ran.stderr.strip()[-2000:]}")


def _plain(value: object) -> object:
    """Return a value as YAML holds it: lists for tuples."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, tuple | list) else value
