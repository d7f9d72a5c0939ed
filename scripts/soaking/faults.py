"""What befalls a server under load: each fault is a function of the server and the store."""

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

from scripts.server import TorchServe
from scripts.soaking.manifest import named, other_version, versioned

FULL = 8.0  # seconds that the disk stays full


class SkippedError(Exception):
    """A fault that this machine does not let happen, and why."""


def workers(server: TorchServe) -> list[int]:
    """Return the processes of the workers that are ready."""
    found = [cast("list[dict[str, object]]", model["workers"]) for model in server.models()]
    return [int(str(w["pid"])) for each in found for w in each if w["status"] == "READY" and int(str(w["pid"])) > 0]


def worker_killed(server: TorchServe, archive: Path) -> None:
    """Kill a worker, as the kernel does where memory runs out."""
    os.kill(workers(server)[0], signal.SIGKILL)


def registered_again(server: TorchServe, archive: Path) -> None:
    """Unregister the model and register it again."""
    name, version = map(quote, named(archive))
    _managed(server, "DELETE", f"/models/{name}/{version}")
    _registered(server, archive)


def second_version(server: TorchServe, archive: Path) -> None:
    """Register a second version beside the first and make it the default."""
    version = other_version(archive)
    _registered(server, versioned(archive, version))
    _managed(server, "PUT", f"/models/{quote(named(archive)[0])}/{version}/set-default")


def disk_full(server: TorchServe, archive: Path) -> None:
    """Fill the disk of the logs for some seconds."""
    logs = server.folder / "logs"
    if not os.path.ismount(server.folder):
        raise SkippedError("the logs have no disk of their own: that needs the right to mount one")
    ballast = logs / "ballast"
    try:
        with ballast.open("wb") as file:
            file.write(b"\0" * shutil.disk_usage(logs).free)
    except OSError:
        pass  # full is full
    time.sleep(FULL)
    ballast.unlink()


def stopped(server: TorchServe, archive: Path) -> None:
    """Stop the server while requests are in flight, and start it again."""
    server.stop()
    server.start()


FAULTS: Mapping[str, Callable[[TorchServe, Path], None]] = MappingProxyType(
    {
        "worker killed (SIGKILL)": worker_killed,
        "model unregistered, registered again": registered_again,
        "second version made the default": second_version,
        "disk of the logs full": disk_full,
        "server stopped, started again": stopped,
    }
)


class Disk:
    """A small disk in memory, from `with` to its end; where none can be mounted, a plain folder."""

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


def _registered(server: TorchServe, archive: Path) -> None:
    """Register an archive of the store with one worker."""
    _managed(server, "POST", f"/models?url={quote(archive.name)}&initial_workers=1&synchronous=true")


def _managed(server: TorchServe, method: str, path: str) -> None:
    """Ask the management API; RuntimeError where it refuses."""
    reply = server.request(method, path, api="management")
    if reply.status >= 300:
        raise RuntimeError(f"{method} {path}: {reply.status} {reply.body[:300]!r}")
