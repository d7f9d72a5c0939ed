"""Starting TorchServe's processes: a check of its packages, its command line, its folders."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

from torchserve_saliency_cli.torchserve.java import NoJavaError, find_java
from torchserve_saliency_cli.torchserve.properties import environment, write_properties

PACKAGES = ("ts", "captum", "psutil")


class ServerError(RuntimeError):
    """TorchServe did not start or did not load its models. The message holds its last output."""


def require_torchserve() -> None:
    """Raise ServerError unless TorchServe is installed."""
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        raise ServerError(
            f"TorchServe is not installed (no module {missing[0]}): pip install 'torchserve-saliency[serve]'"
        )


def launch(settings: Mapping[str, str], folder: Path, private: Path, output: BinaryIO) -> subprocess.Popen[bytes]:
    """Return the process of a TorchServe that leads a process group of its own.

    It works in `folder`, with its logs in `folder`/logs; its configuration and temporary files are in `private`.
    Raise ServerError without TorchServe or Java.
    """
    require_torchserve()
    try:
        java = find_java()
    except NoJavaError as error:
        raise ServerError(str(error)) from error
    config, scratch = private / "config.properties", private / "tmp"
    scratch.mkdir()
    vmargs = f"-Djava.io.tmpdir={scratch} {settings.get('vmargs', '')}".strip()
    write_properties(config, {**settings, "vmargs": vmargs})
    flags = ["--start", "--foreground", "--ncs", "--ts-config", str(config)]
    return subprocess.Popen(
        [sys.executable, "-m", "ts.model_server", *flags],
        cwd=folder,
        env=environment(java, scratch, folder / "logs"),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
