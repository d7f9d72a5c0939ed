"""A private folder in which a case writes its files, archives networks, and asks the handler about pictures."""

from __future__ import annotations

import contextlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from saliency_handler import SaliencyHandler
from tools.zoo.in_process_server import Context, load_handler
from torchserve_saliency_cli import archive

Fields = Mapping[str, object]


@dataclass(frozen=True)
class Answer:
    """The answer to a request: its status, its headers, and the JSON object, the bytes or the text of its body."""

    status: int
    headers: Mapping[str, str]
    body: Any


@dataclass(frozen=True)
class Archived:
    """The result of the archiving command: its exit status, its output, and the archive's path if it was written."""

    status: int
    output: str
    path: Path


@dataclass(frozen=True)
class Workshop:
    """The means by which a case tries its input; `folder` is empty at first and belongs to the case alone."""

    folder: Path

    def write(self, name: str, text: str) -> Path:
        """Write a text file into the folder and return its path."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def save(self, name: str, value: object) -> Path:
        """Write a checkpoint by torch.save into the folder and return its path."""
        path = self.folder / name
        torch.save(value, path)
        return path

    def archive(self, *arguments: object) -> Archived:
        """Run the archiving command in this process; the model's name is `net`, and the sanity test is off."""
        common = ("--model-name", "net", "--export-path", self.folder, "--force", "--sanity", "off")
        output = io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            try:
                status = archive.main([str(argument) for argument in (*common, *arguments)])
            except SystemExit as error:  # argparse
                status = error.code if isinstance(error.code, int) else 1
        return Archived(status, output.getvalue(), self.folder / "net.mar")

    def handler(self, archived: Archived) -> InProcess:
        """Return the handler of an archive, loaded in this process in the same way as in TorchServe."""
        if archived.status:
            raise AssertionError(f"not archived: {archived.output[-500:]}")
        target = self.folder / "unpacked" / str(len(list(self.folder.glob("unpacked/*"))))
        with zipfile.ZipFile(archived.path) as file:
            file.extractall(target)
        return InProcess(*load_handler(target))


@dataclass(frozen=True)
class InProcess:
    """A handler in this process."""

    handler: SaliencyHandler
    context: Context

    @property
    def network(self) -> nn.Module:
        """Return the network of the archive."""
        return self.handler.explainer.classifier.network

    def ask(self, fields: Fields, explain: bool = True, path: str | None = "", **headers: str) -> Answer:
        """Send one request, given as the fields that TorchServe passes on, and return its answer.

        `path` has the options in the path; on the routes of KServe, it is None.
        """
        self.context.status = 200
        self.context.headers.clear()
        sent = {"explain": str(explain), **({} if path is None else {"url_path": path}), **headers}
        context = _WithHeaders(self.context, sent)
        (body,) = self.handler.handle([dict(fields)], cast(Any, context))
        return Answer(self.context.status, dict(self.context.headers), _decoded(body))

    def describe(self) -> Any:
        """Return the answer of the describe route."""
        return self.handler.describe_handle()


class _WithHeaders:
    """A context with the headers of one request; everything else is that of the context it wraps."""

    def __init__(self, context: Context, headers: Mapping[str, str]) -> None:
        self._context = context
        self._headers = headers

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def get_all_request_header(self, index: int) -> Mapping[str, str]:
        return self._headers


def _decoded(body: object) -> Any:
    if isinstance(body, bytes | bytearray):
        with contextlib.suppress(ValueError):
            return json.loads(body)
    return body
