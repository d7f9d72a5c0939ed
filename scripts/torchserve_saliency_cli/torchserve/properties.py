"""TorchServe's files: its properties and its key file, and the environment variables of its processes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

KEY_FILE = "key_file.json"
ADDRESSES = ("inference_address", "management_address", "metrics_address")
# after their work, PyTorch's threads wait in a busy loop for milliseconds, and keep the server from its cores
SPINS = "100000"
GRPC_PORTS = ("grpc_inference_port", "grpc_management_port")


def read_properties(path: Path) -> dict[str, str]:
    """Return the names and values of a Java properties file. If a name occurs twice, the last value counts."""
    lines = (line.strip() for line in path.read_text().splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name.strip(): value.strip() for name, _, value in pairs}


def write_properties(path: Path, properties: Mapping[str, str]) -> None:
    """Write a Java properties file."""
    path.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))


def read_token(key_file: Path, kind: str) -> str:
    """Return a token of TorchServe's key file; raise OSError, ValueError or KeyError for an unreadable file."""
    return str(json.loads(key_file.read_text())[kind]["key"])


def addresses(ports: Sequence[int]) -> dict[str, str]:
    """Return the properties of a TorchServe that listens on these five loopback ports."""
    http = {name: f"http://127.0.0.1:{port}" for name, port in zip(ADDRESSES, ports, strict=False)}
    return http | {name: str(port) for name, port in zip(GRPC_PORTS, ports[3:], strict=True)}


def environment(java: Path, scratch: Path, logs: Path) -> dict[str, str]:
    """Return this process's environment with Java and folders for a TorchServe.

    Variables that would lead it to another server's files are left out.
    """
    kept = {name: value for name, value in os.environ.items() if name not in ("TS_CONFIG_FILE", "TEMP")}
    folders = {"TMPDIR": scratch, "LOG_LOCATION": logs, "METRICS_LOCATION": logs, "JAVA_HOME": java}
    return {"GOMP_SPINCOUNT": SPINS} | kept | {name: str(path) for name, path in folders.items()}


def ports(properties: Mapping[str, str]) -> list[int]:
    """Return the five ports of a TorchServe with these properties."""
    http = [int(properties[name].rpartition(":")[2]) for name in ADDRESSES]
    return http + [int(properties[name]) for name in GRPC_PORTS]
