"""A gRPC client, generated from the proto files in the jar of TorchServe's frontend."""

from __future__ import annotations

import importlib
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import grpc
from grpc_tools import protoc

from torchserve_saliency_cli.torchserve.server import TorchServe

PROTOS = {"inference.proto": "inference.proto", "google/rpc/status.proto": "google/rpc/status.proto"}


def stubs(folder: Path) -> tuple[ModuleType, ModuleType]:
    """Generate Python modules from TorchServe's inference.proto in a folder; return its messages and its services."""
    spec = importlib.util.find_spec("ts")
    assert spec is not None
    assert spec.origin is not None
    with zipfile.ZipFile(Path(spec.origin).parent / "frontend" / "model-server.jar") as jar:
        for inside, outside in PROTOS.items():
            target = folder / outside
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(jar.read(inside))
    own = Path(importlib.import_module("grpc_tools").__file__ or "").parent / "_proto"
    arguments = ["protoc", f"-I{folder}", f"-I{own}", f"--python_out={folder}", f"--grpc_python_out={folder}"]
    assert protoc.main([*arguments, "inference.proto"]) == 0
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module("inference_pb2"), importlib.import_module("inference_pb2_grpc")
    finally:
        sys.path.remove(str(folder))


class Client:
    """A client for TorchServe's gRPC method `Predictions`, with the server's inference token."""

    def __init__(self, server: TorchServe, folder: Path) -> None:
        self._messages, services = stubs(folder)
        settings = server.settings
        address = f"{settings['grpc_inference_address']}:{settings['grpc_inference_port']}"
        self._channel = grpc.insecure_channel(address, [("grpc.max_receive_message_length", 1 << 24)])
        self._service = services.InferenceAPIsServiceStub(self._channel)
        self._metadata = (("protocol", "gRPC"), ("authorization", f"Bearer {server.token()}"))

    def predict(self, model: str, fields: Mapping[str, bytes], version: str = "") -> bytes:
        """Return the prediction; raise grpc.RpcError if the frontend rejects the request."""
        request = self._messages.PredictionsRequest(model_name=model, model_version=version, input=fields)
        answer = self._service.Predictions(request, metadata=self._metadata, timeout=60)
        return bytes(answer.prediction)

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()
