"""The handler in this process, driven as TorchServe drives it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import yaml

from saliency.errors import said
from saliency_handler import SaliencyHandler
from scripts.matrix.cells import METHODS, Cell, judged

_EXPLAIN = {"explain": "True", "url_path": ""}


@dataclass
class Context:
    """What the handler uses of ts.context.Context, for one request at a time."""

    system_properties: Mapping[str, object]
    model_yaml_config: Mapping[str, object]
    model_name: str = "zoo"
    metrics: None = None
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)

    def get_all_request_header(self, index: int) -> Mapping[str, str]:
        return _EXPLAIN

    def get_request_id(self, index: int) -> None:
        return None

    def set_response_status(self, code: int, phrase: str, index: int) -> None:
        self.status = code

    def set_response_content_type(self, index: int, value: str) -> None:
        self.headers["Content-Type"] = value

    def set_response_header(self, index: int, name: str, value: str) -> None:
        self.headers[name] = value


class _Heard(logging.Handler):
    """Keeps what the handler logs of the exceptions that a client is not told."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self.said.append(said(error) if error else record.getMessage())


def loaded(folder: Path) -> tuple[SaliencyHandler, Context]:
    """Return the handler with the archive unpacked in `folder`, initialised as TorchServe does it."""
    config = yaml.safe_load((folder / "model-config.yaml").read_text(encoding="utf-8"))
    context = Context({"model_dir": str(folder), "gpu_id": None, "batch_size": config["batchSize"]}, config)
    handler = SaliencyHandler()
    handler.initialize(cast(Any, context))
    return handler, context


def explained(handler: SaliencyHandler, context: Context, data: bytes) -> dict[str, Cell]:
    """Return a cell a method, each asked for the picture in `data`."""
    cells = {}
    for method, parameters in METHODS.items():
        heard = _Heard()
        with ExitStack() as stack:
            logging.getLogger("saliency").addHandler(heard)
            stack.callback(logging.getLogger("saliency").removeHandler, heard)
            fields = {"data": data, "method": method, "format": "npy", "reduce": "none", **parameters}
            (body,) = handler.handle([fields], cast(Any, context))
        cells[method] = judged(context.status, body, heard.said)
    return cells
