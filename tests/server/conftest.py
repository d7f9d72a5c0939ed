"""A gRPC client of the live server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.grpc_client import Client
from torchserve_saliency_cli.torchserve.server import TorchServe


@pytest.fixture(scope="session")
def grpc_client(server: TorchServe, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Yield a gRPC client of the server."""
    client = Client(server, tmp_path_factory.mktemp("proto"))
    yield client
    client.close()
