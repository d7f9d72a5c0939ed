"""Fixtures for all tests: a thread count for small machines, the data next to the repository, one live TorchServe.

If a test uses the fixture `server`, it gets the mark `server`; `pytest -m 'not server'` skips these tests.
`server.request("POST", "/explanations/sq", body, headers)` sends a request with the right token and returns status,
headers and body. If a request must differ from that, use `torchserve_saliency_cli.client.transport.send` with
`server.url`. To serve another model, add it to ARCHIVES or, if its code is in tests/models, to NETWORKS.
"""

from __future__ import annotations

import os

os.environ.setdefault(  # before torch is imported
    "OMP_NUM_THREADS", str(max(1, min(2, os.cpu_count() or 1) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))))
)

import importlib
import io
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from torchserve_saliency_cli.leaves.draw import draw
from torchserve_saliency_cli.leaves.embedded_archive import archive_leaves
from torchserve_saliency_cli.torchserve.server import TorchServe

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler import LoadScopeScheduling

ROOT = Path(__file__).resolve().parents[1]

# Arguments of scripts/archive.py by model name and version. Version 1.0 of `sq` answers at once. Version 2.0 waits
# long enough that requests sent at the same time form one batch.
ARCHIVES: Mapping[str, Sequence[str]] = {
    "sq 1.0": ("--arch", "squeezenet1_1", "--weights", "none", "--batch-size", "1"),
    "sq 2.0": (
        *("--arch", "squeezenet1_1", "--weights", "none", "--sanity", "off"),
        # no request ends early on a busy machine
        *("--limits", '{"max_seconds": 3600, "max_batch_seconds": 3600}'),
        *("--batch-size", "8", "--max-batch-delay", "400"),
    ),
}
# File names of networks in tests/models, which are archived with seeded weights. The name "tokens" is not possible: if
# token authorization is on, TorchServe rejects every management request for a model of that name.
NETWORKS = ("awkward", "gelu", "flat", "transformer", "hasty")

# `flat`: a request can reach the limit of processor time before that of forward passes.
# `hasty`: the time of the worker is short.
EXTRA_ARGUMENTS: Mapping[str, Sequence[str]] = {
    "flat": ("--limits", '{"max_forwards": 1000000, "max_seconds": 1}'),
    "hasty": ("--response-timeout", "8"),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test that uses the live server."""
    for item in items:
        if "server" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.server)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Return the scheduler of the tests, if they run in several processes."""
    from tests.scheduling import ByServerAndFile

    return ByServerAndFile(config, log)


@pytest.fixture(scope="session")
def data() -> Path:
    """Return the folder of weights and photographs next to the repository; skip the test if it does not exist."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the test needs the photographs and weights of ../shared/data, which does not exist")
    return folder


@pytest.fixture(scope="session")
def model_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the archives of the embedded model, ARCHIVES, NETWORKS, leaves and a TorchScript file."""
    from tests.leaves import leaf_archives

    store = tmp_path_factory.mktemp("model_store")
    archives = dict(ARCHIVES)
    archives |= {f"{name} 1.0": network_arguments(name, tmp_path_factory.mktemp("weights")) for name in NETWORKS}
    archives["scripted 1.0"] = torchscript_arguments(tmp_path_factory.mktemp("scripted"))
    archives |= leaf_archives(tmp_path_factory.mktemp("leaves"))
    with ThreadPoolExecutor(2) as pool:
        futures: list[Future[Path]] = [pool.submit(archive_leaves, store)]
        futures += [pool.submit(archive, store, model, arguments) for model, arguments in archives.items()]
    for future in futures:
        future.result()
    return store


def network_arguments(name: str, folder: Path) -> Sequence[str]:
    """Return the archive arguments of a network in tests/models, after writing its seeded weights to a folder."""
    import torch

    torch.manual_seed(0)
    module = importlib.import_module(f"tests.models.{name}")
    weights = folder / f"{name}.pt"
    torch.save(getattr(module, name.capitalize())().state_dict(), weights)
    files = ("--model-file", str(ROOT / "tests" / "models" / f"{name}.py"), "--serialized-file", str(weights))
    size = ("--input-size", "32", "--resize", "32")
    batching = ("--batch-size", "8", "--max-batch-delay", "400")
    return (*files, *size, *batching, "--sanity", "off", *EXTRA_ARGUMENTS.get(name, ()))


def torchscript_arguments(folder: Path) -> Sequence[str]:
    """Return the archive arguments of a TorchScript file of a SqueezeNet with seeded weights, written to a folder."""
    import torch
    from torchvision import models

    from tests import archives

    torch.manual_seed(0)
    file = archives.scripted(folder / "scripted.pt", models.squeezenet1_1(num_classes=7))
    size = ("--input-size", "64", "--resize", "64")
    return ("--serialized-file", str(file), *size, "--batch-size", "8", "--max-batch-delay", "400")


def archive(store: Path, model: str, arguments: Sequence[str]) -> Path:
    """Write the archive of a model, given as "name version", to the store, and return its path."""
    name, version = model.split()
    folder = store.with_name("staging") / f"{name}-{version}"  # TorchServe takes any folder in its store for a model
    folder.mkdir(parents=True)
    common = ("--model-name", name, "--version", version, "--export-path", folder)
    subprocess.run([sys.executable, ROOT / "scripts" / "archive.py", *common, *arguments], check=True)
    return (folder / f"{name}.mar").rename(store / f"{name}-{version}.mar")


@pytest.fixture(scope="session")
def server(model_store: Path) -> Iterator[TorchServe]:
    """Yield the TorchServe of this test run, with token authorization, when all models are ready."""
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
    """Keep compiled networks even if they are slower than in eager mode, as the small networks of the tests are.

    Code compiled by PyTorch 2.4 turns subnormal numbers off for the whole process; they are turned on again.
    """
    import torch

    monkeypatch.setattr("torchserve_saliency.model.acceleration.compilation._MAX_SLOWDOWN", float("inf"))
    yield
    torch.set_flush_denormal(False)
