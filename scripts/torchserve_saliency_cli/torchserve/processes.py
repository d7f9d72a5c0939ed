"""Process groups and ports: a server is started next to others, and ended with all its children and nothing else."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # psutil comes with TorchServe in the extra `serve`, and this module is imported without it
    import psutil

GRACE = 20.0


def free_ports(count: int) -> list[int]:
    """Return different loopback ports that nothing listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


def is_free(port: int) -> bool:
    """Tell whether a server could listen on this loopback port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def members(group: int) -> list[psutil.Process]:
    """Return the living processes of a process group."""
    import psutil

    found = []
    for process in psutil.process_iter(["status"]):
        with suppress(ProcessLookupError, PermissionError, psutil.Error):
            if os.getpgid(process.pid) == group and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def end_group(leader: subprocess.Popen[bytes]) -> None:
    """End the process group of `leader`: terminate its children, and kill the rest of the group after 20 seconds."""
    import psutil

    try:
        with suppress(psutil.Error):
            for child in psutil.Process(leader.pid).children():
                child.terminate()
        _await_end(leader, GRACE)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(leader.pid, signal.SIGKILL)
        _await_end(leader, GRACE)
        leader.wait(GRACE)


def _await_end(leader: subprocess.Popen[bytes], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while members(leader.pid) and time.monotonic() < deadline:
        leader.poll()
        time.sleep(0.05)
