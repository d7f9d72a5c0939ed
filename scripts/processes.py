"""Process groups and ports: starting a server beside others, and ending all of it, and nothing else."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from contextlib import ExitStack, suppress

import psutil

GRACE = 20.0


def free_ports(count: int) -> list[int]:
    """Return loopback ports that nothing listens on at the moment, all different."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


def is_free(port: int) -> bool:
    """Return whether a server could listen on this loopback port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def members(group: int) -> list[psutil.Process]:
    """Return the living processes of a process group."""
    found = []
    for process in psutil.process_iter(["status"]):
        with suppress(ProcessLookupError, PermissionError, psutil.Error):
            if os.getpgid(process.pid) == group and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def end_group(leader: subprocess.Popen[bytes]) -> None:
    """End the group that `leader` leads: its children are asked first, and after a grace all are killed."""
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
