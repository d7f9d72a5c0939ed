"""What tests share: threads that suit a small machine, the data beside the repository, one live TorchServe for all.

A test that asks the live server takes the fixture `server` and is marked by it (`pytest -m 'not server'` leaves
them out). `server.request("POST", "/explanations/sq", body, headers)` sends with the right token and returns status,
headers and body; `scripts.wire.send` sends anything to `server.url`. Another model for it: a row in ARCHIVES.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", str(min(2, os.cpu_count() or 1)))  # before torch is imported

import importlib
import io
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from scripts.embedded import archive_leaves
from scripts.leaves.draw import draw
from scripts.server import TorchServe

ROOT = Path(__file__).resolve().parents[1]

# Model name and version -> arguments of scripts/archive.py. Version 2.0 of `sq` waits long enough for requests that
# are sent together to be one batch; version 1.0 answers at once.
ARCHIVES: Mapping[str, Sequence[str]] = {
    "sq 1.0": ("--arch", "squeezenet1_1", "--weights", "none", "--batch-size", "1"),
    "sq 2.0": (
        *("--arch", "squeezenet1_1", "--weights", "none", "--sanity", "off"),
        # on a busy machine, passes seem longer than they are
        *("--limits", '{"max_seconds": 3600, "max_batch_seconds": 3600}'),
        *("--batch-size", "8", "--max-batch-delay", "400"),
    ),
}
# Networks of tests/models, by the name of their file, with seeded weights. None is named "tokens": of a model of that
# name, TorchServe refuses the management's routes where it authorizes by tokens.
OWN = ("awkward", "gelu", "flat", "transformer", "hasty")

# passes enough for a request of too many seconds, and a worker that is soon given up
LIMITED: Mapping[str, Sequence[str]] = {
    "flat": ("--limits", '{"max_forwards": 1000000, "max_seconds": 5}'),
    "hasty": ("--response-timeout", "8"),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that ask the live server."""
    for item in items:
        if "server" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.server)


@pytest.fixture(scope="session")
def data() -> Path:
    """Return the folder of weights and photographs beside the repository; skips where there is none."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no ../shared/data beside the repository: its photographs and weights are needed")
    return folder


@pytest.fixture(scope="session")
def model_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the embedded model's archive and those of ARCHIVES, written by scripts/archive.py."""
    store = tmp_path_factory.mktemp("model_store")
    archives = {**ARCHIVES, **{f"{name} 1.0": own(name, tmp_path_factory.mktemp("weights")) for name in OWN}}
    archives["scripted 1.0"] = scripted(tmp_path_factory.mktemp("scripted"))
    with ThreadPoolExecutor(2) as pool:
        made: list[Future[Path]] = [pool.submit(archive_leaves, store)]
        made += [pool.submit(archive, store, key, arguments) for key, arguments in archives.items()]
    for archived in made:
        archived.result()
    return store


def own(name: str, folder: Path) -> Sequence[str]:
    """Return the archive arguments of a network of tests/models."""
    import torch

    torch.manual_seed(0)
    module = importlib.import_module(f"tests.models.{name}")
    weights = folder / f"{name}.pt"
    torch.save(getattr(module, name.capitalize())().state_dict(), weights)
    files = ("--model-file", str(ROOT / "tests" / "models" / f"{name}.py"), "--serialized-file", str(weights))
    said = ("--input-size", "32", "--resize", "32", "--batch-size", "8", "--max-batch-delay", "400", "--sanity", "off")
    return (*files, *said, *LIMITED.get(name, ()))


def scripted(folder: Path) -> Sequence[str]:
    """Return the archive arguments of a TorchScript file that holds a small SqueezeNet with seeded weights."""
    import torch
    from torchvision import models

    from tests import archives

    torch.manual_seed(0)
    file = archives.scripted(folder / "scripted.pt", models.squeezenet1_1(num_classes=7))
    shape = ("--input-size", "64", "--resize", "64", "--batch-size", "8", "--max-batch-delay", "400")
    return ("--serialized-file", str(file), *shape)


def archive(store: Path, key: str, arguments: Sequence[str]) -> Path:
    """Return a model's archive in the store; `key` is its name and version."""
    name, version = key.split()
    target = store.with_name("staging") / f"{name}-{version}"  # TorchServe takes a folder in its store for a model
    common = ("--model-name", name, "--version", version, "--export-path", target)
    target.mkdir(parents=True)
    subprocess.run([sys.executable, ROOT / "scripts" / "archive.py", *common, *arguments], check=True)
    return (target / f"{name}.mar").rename(store / f"{name}-{version}.mar")


@pytest.fixture(scope="session")
def server(model_store: Path) -> Iterator[TorchServe]:
    """Return the TorchServe of this test run, token authorization on, its models ready."""
    with TorchServe(model_store, authorize=True) as running:
        yield running


@pytest.fixture(scope="session")
def leaf() -> bytes:
    """Return a PNG of a leaf with rust and scab."""
    buffer = io.BytesIO()
    draw(4, ["rust", "scab"]).image.save(buffer, "png")
    return buffer.getvalue()


@pytest.fixture
def compiled_at_any_speed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep networks as small as those of tests compiled, which is slower.

    What PyTorch 2.4 compiles switches subnormal numbers off for the process that loads it; they are switched on again.
    """
    import torch

    monkeypatch.setattr("saliency.compiling._SLOWER", float("inf"))
    yield
    torch.set_flush_denormal(False)
