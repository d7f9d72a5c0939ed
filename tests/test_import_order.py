"""Imports follow the contracts in pyproject.toml, and an import that breaks one is detected."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("handlers", "scripts", "tools")


def run_import_linter(root: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter in a folder with pyproject.toml and the sources."""
    paths = os.pathsep.join(str(root / name) for name in ("handlers", "scripts", ""))
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    environment = {**os.environ, "PYTHONPATH": paths}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Return a folder with a copy of the sources."""
    for name in FOLDERS:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.pt"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_imports_keep_the_contracts() -> None:
    result = run_import_linter(ROOT)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("handlers/torchserve_saliency/images/geometry.py", "from torchserve_saliency.model import labels"),
        ("handlers/torchserve_saliency/methods/base.py", "from torchserve_saliency.quality import judged"),
        ("handlers/torchserve_saliency/protocols/call.py", "from torchserve_saliency import explainer"),
        ("handlers/torchserve_saliency/errors.py", "from torchserve_saliency import schema"),  # a cycle
        ("handlers/torchserve_saliency/engine/rows.py", "import ts"),
        ("scripts/torchserve_saliency_cli/files.py", "from tools import structure"),
    ],
)
def test_an_import_that_breaks_a_contract_is_detected(sources: Path, module: str, line: str) -> None:
    with (sources / module).open("a") as file:
        file.write(f"\n{line}\n")
    result = run_import_linter(sources)
    assert result.returncode == 1, result.stdout
    assert module.rpartition("/")[2].removesuffix(".py") in result.stdout
