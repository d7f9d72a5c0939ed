"""Run the handler in this process, in the same way as TorchServe does."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import yaml

from saliency_handler import SaliencyHandler
from tools.zoo.outcomes import METHODS, Cell, cell_of
from torchserve_saliency.errors import error_summary

LOGGER = logging.getLogger("torchserve_saliency")  # the parent of the engine's loggers
_EXPLAIN = {"explain": "True", "url_path": ""}


@dataclass
class Context:
    """The part of ts.context.Context that the handler uses, for one request at a time."""

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


class _LogCollector(logging.Handler):
    """Collects the log messages, which describe exceptions in more detail than the response does."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self.messages.append(error_summary(error) if error else record.getMessage())


def load_handler(folder: Path) -> tuple[SaliencyHandler, Context]:
    """Return the handler, initialised with the archive that is unpacked in `folder`, and its context."""
    config = yaml.safe_load((folder / "model-config.yaml").read_text(encoding="utf-8"))
    context = Context({"model_dir": str(folder), "gpu_id": None, "batch_size": config["batchSize"]}, config)
    handler = SaliencyHandler()
    handler.initialize(cast(Any, context))
    return handler, context


def explain(handler: SaliencyHandler, context: Context, data: bytes) -> dict[str, Cell]:
    """Explain the picture in `data` by every method of the table, and return one cell per method."""
    cells = {}
    for method, parameters in METHODS.items():
        log = _LogCollector()
        with ExitStack() as stack:
            LOGGER.addHandler(log)
            stack.callback(LOGGER.removeHandler, log)
            fields = {"data": data, "method": method, "format": "npy", "reduce": "none", **parameters}
            (body,) = handler.handle([fields], cast(Any, context))
        cells[method] = cell_of(context.status, body, log.messages)
    return cells
