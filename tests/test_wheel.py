"""The wheel, installed into a new environment and used outside of the repository."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import sysconfig
import time
import venv
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from bootstrap import requirements
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image

from tests.archives import own_words

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (ROOT / "handlers" / "torchserve_saliency", ROOT / "scripts" / "torchserve_saliency_cli")
COPIES = {"share/config.properties": "config.properties", "share/deploy/metrics.yaml": "deploy/metrics.yaml"}
COMMANDS = ("archive", "explain", "serve", "demo", "page")


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel, and an empty folder to work in."""

    environment: Path
    folder: Path

    def words(self, *words: str | Path) -> list[str]:
        """Return the words of a command line."""
        return [str(self.environment / "bin" / "torchserve-saliency"), *map(str, words)]

    def run(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command in the folder."""
        return self._run(self.words(*words))

    def python(self, code: str) -> subprocess.CompletedProcess[str]:
        """Run Python code in the folder."""
        return self._run([str(self.environment / "bin" / "python"), "-c", code])

    def _run(self, words: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(words, cwd=self.folder, env=outside(), capture_output=True, text=True, timeout=600)

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Yield the output of `serve` once its models are ready, and stop it by its process id."""
        output = self.folder / "serve.log"
        with output.open("w") as log:
            server = subprocess.Popen(
                self.words("serve", "--free-ports"), cwd=self.folder, env=outside(), stdout=log, stderr=log
            )
        try:
            deadline = time.monotonic() + 300
            while "torchserve-saliency explain" not in (text := output.read_text()):
                assert server.poll() is None, text
                assert time.monotonic() < deadline, text
                time.sleep(0.2)
            yield text
        finally:
            server.terminate()
            server.wait(60)


def outside() -> dict[str, str]:
    """Return the environment variables without the import path of the tests."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel, built as in continuous integration."""
    out = tmp_path_factory.mktemp("wheel")
    words = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(words, check=True, capture_output=True, env=outside())
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an environment with the wheel; its other packages are those of the environment of the tests."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    shared = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    (packages / "shared.pth").write_text("\n".join(shared))
    words = [str(folder / "bin" / "python"), "-m", "pip", "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(words, check=True, capture_output=True, env=outside(), cwd=folder)
    return folder


@pytest.fixture
def installed(environment: Path, tmp_path: Path) -> Installed:
    """Return the environment with the wheel, and an empty folder."""
    return Installed(environment, tmp_path)


def test_the_wheel_contains_the_packages_their_files_and_the_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
        copies = {name: archive.read(f"torchserve_saliency_cli/{name}") for name in COPIES}
    info = next(name.partition("/")[0] for name in names if name.endswith("/METADATA"))
    assert {name.partition("/")[0] for name in names} == {
        "saliency_handler.py",
        "torchserve_saliency",
        "torchserve_saliency_cli",
        info,
    }
    assert f"{info}/licenses/LICENSE" in names
    expected = {
        f"{package.name}/{path.relative_to(package)}"
        for package in PACKAGES
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    found = {name for name in names if name.startswith("torchserve_saliency") and not name.startswith(info)}
    assert found == expected | {f"torchserve_saliency_cli/{name}" for name in COPIES}
    for name, original in COPIES.items():
        assert copies[name] == (ROOT / original).read_bytes()


def test_every_imported_package_is_a_declared_requirement() -> None:
    declared = {canonicalize_name(Requirement(each).name) for each in requirements(("serve", "timm", "page"))}
    distributions = packages_distributions()
    files = [
        ROOT / "handlers" / "saliency_handler.py",
        *(path for package in PACKAGES for path in package.rglob("*.py")),
    ]
    ours = {"saliency_handler", *(package.name for package in PACKAGES)}
    imported = {name for file in files for name in imports(file)} - sys.stdlib_module_names - ours
    assert {"torch", "httpx", "skimage", "yaml"} <= imported
    for name in imported:
        assert {canonicalize_name(each) for each in distributions[name]} & declared, name


def imports(file: Path) -> Iterator[str]:
    """Yield the top-level packages that a file imports."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield str(node.module).partition(".")[0]


def test_the_packages_are_imported_from_the_wheel(installed: Installed) -> None:
    code = "import torchserve_saliency as a, torchserve_saliency_cli as b, saliency_handler as c; "
    done = installed.python(code + "print(a.__file__, b.__file__, c.__file__)")
    assert done.returncode == 0, done.stderr
    assert all(path.startswith(str(installed.environment)) for path in done.stdout.split())


def test_e1_the_notebook_begins_and_the_client_is_there_after_the_installation(installed: Installed) -> None:
    page = (ROOT / "docs" / "notebook.md").read_text(encoding="utf-8")
    first = page.partition("```python\n")[2].partition("```")[0]
    code = f"{first}\nprint(explainer.explain(leaf))\nfrom torchserve_saliency import AsyncClient, Client\n"
    done = installed.python(code + "print(Client('http://localhost').explain)")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("<Explanation of 'scab' by gradient; predicted: 'scab' 5")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_prints_its_help(installed: Installed, command: str) -> None:
    done = installed.run(command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: torchserve-saliency {command} ")
    assert f"{command}.py" not in done.stdout
    assert not list(installed.folder.iterdir())


def test_the_commands_are_listed_and_an_unknown_one_exits_with_2(installed: Installed) -> None:
    listed, unknown, missing = installed.run("--help"), installed.run("archvie"), installed.run()
    assert (listed.returncode, unknown.returncode, missing.returncode) == (0, 2, 2)
    assert "there is no command 'archvie'" in unknown.stderr
    for text in (listed.stdout, unknown.stderr, missing.stderr):
        assert [line.split()[0] for line in text.splitlines() if line.startswith("  ")] == list(COMMANDS)


@pytest.mark.parametrize("command", ["serve", "demo"])
def test_a_missing_torchserve_is_reported_with_the_extra_to_install(installed: Installed, command: str) -> None:
    hide = "import sys; sys.modules['ts'] = None; sys.modules['psutil'] = None; "
    call = f"sys.argv = ['torchserve-saliency', '{command}']; from torchserve_saliency_cli.__main__ import main; main()"
    done = installed.python(hide + call)
    assert done.returncode == 1
    assert "pip install 'torchserve-saliency[serve]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(installed.folder.iterdir())


def test_ones_own_network_is_archived(installed: Installed) -> None:
    done = installed.run("archive", *own_words(installed.folder))
    assert done.returncode == 0, done.stderr
    assert "gradient = slope" in done.stdout
    with zipfile.ZipFile(installed.folder / "store" / "small.mar") as archive:
        assert {"saliency_handler.py", "torchserve_saliency/explainer.py", "net.py"} <= set(archive.namelist())
    again = installed.run("archive", *own_words(installed.folder))
    assert again.returncode == 2
    assert again.stderr.startswith("torchserve-saliency archive: ")


@pytest.mark.server
def test_the_embedded_model_is_archived_served_and_explained(installed: Installed, leaf: bytes) -> None:
    files = Path(installed.python("import torchserve_saliency_cli.leaves as l; print(l.__path__[0])").stdout.strip())
    network = ("--model-file", files / "network.py", "--serialized-file", files / "leaves.pt")
    pixels = ("--input-size", "224", "--resize", "224", "--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5")
    labels = ("--labels", files / "labels.txt")
    done = installed.run("archive", "--model-name", "leaves", *network, *labels, *pixels)
    assert done.returncode == 0, done.stderr
    written = (installed.folder / "model_store" / "leaves.mar").stat().st_mtime
    (installed.folder / "leaf.png").write_bytes(leaf)
    with installed.serving() as output:
        url, key_file = (re.findall(pattern, output)[0] for pattern in (r"on (http://\S+)", r"--key-file (\S+)"))
        request = ("leaf.png", "--model", "leaves", "--url", url, "--key-file", key_file)
        done = installed.run("explain", *request, "--target", "scab", "--method", "grad_cam", "--out", "why.png")
    assert done.returncode == 0, done.stderr
    assert re.match(r"\s+\d\d\.\d\d%\s+scab\s+class 2 ", done.stdout.splitlines()[1])
    assert "explained: scab, by grad_cam" in done.stdout
    width, height = Image.open(installed.folder / "why.png").size  # the map of 224 x 224, with a caption
    assert (width > 224, height > 224 + 60) == (True, True)
    assert not Path(key_file).exists()
    assert (installed.folder / "model_store" / "leaves.mar").stat().st_mtime == written
