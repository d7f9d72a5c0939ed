"""A client of the explanations route: one picture and its options in, one answer out."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import TypedDict, cast
from urllib.parse import quote

from PIL import Image

from scripts.wire import Part, Reply, form, send


class ClassScore(TypedDict):
    """One class and what the network says of it."""

    index: int
    label: str
    probability: float
    logit: float


class Explained(TypedDict, total=False):
    """One target's explanation, as far as the client reads it."""

    target: ClassScore
    against: ClassScore | None
    method: str
    parameters: dict[str, object]
    saliency: dict[str, object]
    image: dict[str, object]


class Said(TypedDict):
    """The explanation body of the contract, as far as the client reads it."""

    model: dict[str, str]
    predictions: list[ClassScore]
    explanations: list[Explained]


class RefusedError(RuntimeError):
    """The server's error answer: its status, type and message."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(f"{status} {kind}: {message}")
        self.status = status
        self.kind = kind
        self.message = message


class UnreachableError(RuntimeError):
    """No answer came: nothing listens there, or the connection broke."""


@dataclass(frozen=True)
class Answer:
    """An explanation as it came: `said` is the JSON's content, None where the format brings none (`png`)."""

    body: bytes
    content_type: str
    said: Said | None

    def picture(self) -> Image.Image | None:
        """Return the picture of every target, side by side; None where the answer holds none."""
        if self.content_type == "image/png":
            return Image.open(io.BytesIO(self.body))
        drawn = (
            [entry.get("image") or entry.get("saliency") for entry in self.said["explanations"]] if self.said else []
        )
        return side_by_side([_decoded(each) for each in drawn if each and "data" in each])


@dataclass(frozen=True)
class Service:
    """A model on a TorchServe, and how to ask it."""

    url: str
    model: str
    version: str | None = None
    token: str | None = None
    timeout: float = 150

    def explain(self, picture: bytes, options: Mapping[str, str], filename: str = "picture") -> Answer:
        """Return the explanation of a picture file's bytes; RefusedError or UnreachableError where there is none."""
        body, kind = form([*(Part(name, value) for name, value in options.items()), Part("data", picture, filename)])
        path = "/".join(quote(part, safe="") for part in ("explanations", self.model, self.version) if part)
        try:
            url = f"{self.url.rstrip('/')}/{path}"
            reply = send(url, "POST", body, {"Content-Type": kind}, self.token, self.timeout)
        except (OSError, HTTPException) as error:
            raise UnreachableError(f"no TorchServe answers at {self.url} ({error})") from error
        if reply.status != 200:
            raise refusal(reply)
        return Answer(reply.body, reply.content_type, _said(reply))


def refusal(reply: Reply) -> RefusedError:
    """Return the error that a reply tells of, TorchServe's or the model's."""
    try:
        told = cast("dict[str, str]", reply.json())
        return RefusedError(reply.status, told["type"], told["message"])
    except (ValueError, KeyError, TypeError):
        return RefusedError(reply.status, "Error", reply.body.decode(errors="replace")[:500] or "an empty answer")


def side_by_side(pictures: list[Image.Image], gap: int = 8) -> Image.Image | None:
    """Return pictures of one height in a row, the gaps transparent; None where there are none."""
    if len(pictures) < 2:
        return pictures[0] if pictures else None
    width = sum(each.width + gap for each in pictures) - gap
    row = Image.new("RGBA", (width, max(each.height for each in pictures)))
    left = 0
    for each in pictures:
        row.paste(each.convert("RGBA"), (left, 0))
        left += each.width + gap
    return row


def _decoded(image: Mapping[str, object]) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(str(image["data"]))))


def _said(reply: Reply) -> Said | None:
    if reply.content_type == "image/png":
        return None
    text = reply.headers.get("Saliency-Metadata") if "npy" in reply.content_type else reply.body
    return cast("Said", json.loads(text)) if text else None
