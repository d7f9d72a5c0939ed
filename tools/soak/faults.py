"""The faults that are injected while a server is under load: functions of the server and its archive."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import cast
from urllib.parse import quote

from tools.soak.manifest import copy_with_version, name_and_version, other_version
from torchserve_saliency_cli.torchserve.server import TorchServe

FULL_SECONDS = 8.0  # the disk stays full for this time


class SkippedError(Exception):
    """A fault cannot be injected on this machine; the message is the reason."""


def worker_pids(server: TorchServe) -> list[int]:
    """Return the process identifiers of the workers that are ready."""
    found = [cast("list[dict[str, object]]", model["workers"]) for model in server.models()]
    return [int(str(w["pid"])) for each in found for w in each if w["status"] == "READY" and int(str(w["pid"])) > 0]


def kill_worker(server: TorchServe, archive: Path) -> None:
    """Kill a worker, as the kernel does if memory runs out."""
    os.kill(worker_pids(server)[0], signal.SIGKILL)


def register_again(server: TorchServe, archive: Path) -> None:
    """Unregister the model and register it again."""
    name, version = map(quote, name_and_version(archive))
    _manage(server, "DELETE", f"/models/{name}/{version}")
    _register(server, archive)


def add_second_version(server: TorchServe, archive: Path) -> None:
    """Register a second version of the model and make it the default."""
    version = other_version(archive)
    _register(server, copy_with_version(archive, version))
    _manage(server, "PUT", f"/models/{quote(name_and_version(archive)[0])}/{version}/set-default")


def fill_disk(server: TorchServe, archive: Path) -> None:
    """Fill the disk with the logs for some seconds."""
    logs = server.folder / "logs"
    if not os.path.ismount(server.folder):
        raise SkippedError("the logs are not on a separate disk, because this process may not mount one")
    ballast = logs / "ballast"
    try:
        with ballast.open("wb") as file:
            file.write(b"\0" * shutil.disk_usage(logs).free)
    except OSError:
        pass  # the disk is full, which is the purpose
    time.sleep(FULL_SECONDS)
    ballast.unlink()


def restart(server: TorchServe, archive: Path) -> None:
    """Stop the server while it is answering requests, and start it again."""
    server.stop()
    server.start()


FAULTS: Mapping[str, Callable[[TorchServe, Path], None]] = MappingProxyType(
    {
        "worker killed (SIGKILL)": kill_worker,
        "model unregistered, registered again": register_again,
        "second version made the default": add_second_version,
        "disk of the logs full": fill_disk,
        "server stopped, started again": restart,
    }
)


class Disk:
    """A context manager that mounts a small disk in memory. If it cannot be mounted, the folder is a plain one."""

    def __init__(self, folder: Path, megabytes: int = 64) -> None:
        self.folder = folder
        self._size = f"size={megabytes}m"
        self._mounted = False

    def __enter__(self) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [shutil.which("mount") or "mount", "-t", "tmpfs", "-o", self._size, "tmpfs", str(self.folder)]
        try:
            self._mounted = subprocess.run(command, capture_output=True).returncode == 0
        except OSError:
            self._mounted = False
        return self.folder

    def __exit__(self, *error: object) -> None:
        if self._mounted:
            subprocess.run([shutil.which("umount") or "umount", str(self.folder)], check=True)


def _register(server: TorchServe, archive: Path) -> None:
    """Register an archive of the model store with one worker."""
    _manage(server, "POST", f"/models?url={quote(archive.name)}&initial_workers=1&synchronous=true")


def _manage(server: TorchServe, method: str, path: str) -> None:
    """Call the management API. Raise RuntimeError if it returns an error."""
    reply = server.request(method, path, api="management")
    if reply.status >= 300:
        raise RuntimeError(f"{method} {path}: {reply.status} {reply.body[:300]!r}")
