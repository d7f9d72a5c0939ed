"""The names of the package: imported on first use, so that a worker loads neither PyTorch twice nor the client."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import torchserve_saliency
import torchserve_saliency_cli.client

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "numpy", "PIL", "httpx", "torchserve_saliency_cli")


def loaded_after(code: str, *paths: str) -> set[str]:
    """Return the packages of HEAVY that a new process has loaded after running some code."""
    roots = [str(ROOT / path) for path in paths]
    program = f"import sys; sys.path[:0] = {roots}; {code}; print(*({HEAVY} & sys.modules.keys()))"
    program = program.replace(str(HEAVY), f"set({HEAVY})")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    return set(done.stdout.split())


def test_the_packages_alone_load_nothing() -> None:
    assert not loaded_after("import torchserve_saliency", "handlers")
    assert loaded_after("import torchserve_saliency_cli.client", "scripts") == {"torchserve_saliency_cli"}


def test_a_worker_loads_no_client() -> None:
    assert loaded_after("import saliency_handler", "handlers", "scripts") == {"torch", "numpy", "PIL"}


def test_the_engine_alone_has_an_explainer_and_names_the_clients_package() -> None:
    assert "torch" in loaded_after("from torchserve_saliency import Explainer, RequestError", "handlers")
    code = "import sys; sys.path.insert(0, sys.argv[1]); from torchserve_saliency import Client"
    command = [sys.executable, "-I", "-c", f"import sys; sys.modules['torchserve_saliency_cli'] = None; {code}"]
    done = subprocess.run([*command, str(ROOT / "handlers")], capture_output=True, text=True, check=False, timeout=120)
    assert "ImportError: the client needs the commands and httpx, which `pip install .` installs" in done.stderr


@pytest.mark.parametrize("package", [torchserve_saliency, torchserve_saliency_cli.client])
def test_the_public_names_exist(package: object) -> None:
    names = package.__all__  # type: ignore[attr-defined]
    assert "Client" in names
    assert all(isinstance(getattr(package, name), type) for name in names)
    assert set(torchserve_saliency.__all__) <= set(dir(torchserve_saliency))
    with pytest.raises(AttributeError, match="nothing"):
        _ = package.nothing  # type: ignore[attr-defined]
