"""The environment: made once, completed when its inputs change, and never taken for ready when it is not.

A small project of its own stands in for this one: no packages, the same script.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from scripts.bootstrap import requirements

ROOT = Path(__file__).resolve().parents[1]
PROJECT = '[project]\nname = "small"\ndependencies = [{}]\n[project.optional-dependencies]\ntimm = []\ndev = ["pip"]\n'


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small project with its environment made."""
    project = tmp_path_factory.mktemp("project")
    (project / "scripts").mkdir()
    for name in ("__init__.py", "java.py"):
        shutil.copy(ROOT / "scripts" / name, project / "scripts")
    script = (ROOT / "scripts" / "bootstrap.py").read_text()
    imports = next(line for line in script.splitlines() if line.startswith("IMPORTS = "))
    (project / "scripts" / "bootstrap.py").write_text(script.replace(imports, 'IMPORTS = "import pip"'))
    (project / "pyproject.toml").write_text(PROJECT.format(""))
    (project / "constraints.txt").write_text("")
    assert bootstrap(project).returncode == 0
    return project


@pytest.fixture
def project(made: Path) -> Path:
    """Return the small project, its environment ready and marked by a file that only a new one would lack."""
    (made / "pyproject.toml").write_text(PROJECT.format(""))
    assert bootstrap(made).returncode == 0
    (made / ".venv" / "kept").touch()
    return made


def bootstrap(project: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """Run the project's bootstrap script, which needs no network, with the Python that runs this."""
    command = [sys.executable, str(project / "scripts" / "bootstrap.py"), *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_a_ready_environment_is_left_alone(project: Path) -> None:
    done = bootstrap(project)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (project / ".venv" / "kept").exists()


def test_changed_inputs_complete_it_in_place(project: Path) -> None:
    with (project / "constraints.txt").open("a") as constraints:
        constraints.write("# another line\n")
    assert "installing" in bootstrap(project).stdout
    assert (project / ".venv" / "kept").exists()
    assert bootstrap(project).stdout == ""


def test_an_interrupted_install_is_begun_anew(project: Path) -> None:
    (project / ".venv" / ".stamp").unlink()
    (project / ".venv" / ".unfinished").touch()
    assert "making .venv" in bootstrap(project).stdout
    assert not (project / ".venv" / "kept").exists()
    assert bootstrap(project).stdout == ""


def test_a_failed_install_is_not_ready_and_destroys_nothing(project: Path) -> None:
    (project / "pyproject.toml").write_text(PROJECT.format('"absent @ file:///no/such/package.whl"'))
    done = bootstrap(project)
    assert done.returncode == 1
    assert "the environment is not ready" in done.stderr
    assert not (project / ".venv" / ".stamp").exists()
    assert (project / ".venv" / "kept").exists()


def test_an_install_that_is_killed_is_begun_anew(project: Path) -> None:
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


def test_an_environment_whose_python_is_gone_is_made_anew(project: Path) -> None:
    (project / ".venv" / "bin" / "python").unlink()
    assert "making .venv" in bootstrap(project).stdout
    assert bootstrap(project).stdout == ""


def test_the_oldest_versions_have_an_environment_of_their_own(project: Path) -> None:
    (project / "constraints-oldest.txt").write_text("# none\n")
    assert "making .venv-oldest" in bootstrap(project, "--oldest").stdout
    assert (project / ".venv-oldest" / ".stamp").exists()
    assert bootstrap(project, "--oldest").stdout == bootstrap(project).stdout == ""
    with (project / "constraints-oldest.txt").open("a") as constraints:
        constraints.write("# another line\n")
    assert bootstrap(project).stdout == ""
    assert "installing" in bootstrap(project, "--oldest").stdout


def test_constraints_hold_versions_that_are_admitted() -> None:
    wanted = {r.name.lower(): r for r in map(Requirement, requirements())}
    for name in ("constraints.txt", "constraints-oldest.txt"):
        lines = [line for line in (ROOT / name).read_text().splitlines() if line and not line.startswith("#")]
        pinned = {pin.name.lower(): next(iter(pin.specifier)).version for pin in map(Requirement, lines)}
        assert {"torch", "torchvision", "captum", "numpy"} <= pinned.keys()
        for package, version in pinned.items():
            assert package not in wanted or wanted[package].specifier.contains(version), f"{name}: {package}"
