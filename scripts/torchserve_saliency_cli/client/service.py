"""A client of the explanations route: it sends one picture with its options and returns the answer."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypedDict, cast
from urllib.parse import quote

from PIL import Image

from torchserve_saliency_cli.client.transport import NoReplyError, Part, Reply, form, send


class ClassScore(TypedDict):
    """A class with its label and scores."""

    index: int
    label: str
    probability: float
    logit: float


class ExplanationEntry(TypedDict, total=False):
    """The explanation of one target: the keys that this client reads."""

    target: ClassScore
    against: ClassScore | None
    method: str
    parameters: dict[str, object]
    saliency: dict[str, object]
    image: dict[str, object]


class ExplanationBody(TypedDict):
    """The JSON body of an explanation: the keys that this client reads."""

    model: dict[str, str]
    predictions: list[ClassScore]
    explanations: list[ExplanationEntry]


class RefusedError(RuntimeError):
    """The server answered with an error: its status, type and message."""

    def __init__(self, status: int, error_type: str, message: str) -> None:
        super().__init__(f"{status} {error_type}: {message}")
        self.status = status
        self.error_type = error_type
        self.message = message


class UnreachableError(RuntimeError):
    """The server sent no answer: nothing listens at its address, or the connection broke."""


@dataclass(frozen=True)
class Answer:
    """An explanation: its bytes, its media type, and its JSON if it has any (`png` has none)."""

    body: bytes
    content_type: str
    content: ExplanationBody | None

    def picture(self) -> Image.Image | None:
        """Return the pictures of all targets side by side, or None for an answer without pictures."""
        if self.content_type == "image/png":
            return Image.open(io.BytesIO(self.body))
        entries = self.content["explanations"] if self.content else []
        images = [entry.get("image") or entry.get("saliency") for entry in entries]
        return side_by_side([_decode(image) for image in images if image and "data" in image])


@dataclass(frozen=True)
class Service:
    """A model served by TorchServe: its address, name, version and token."""

    url: str
    model: str
    version: str | None = None
    token: str | None = None
    timeout: float = 150

    def explain(self, picture: bytes, options: Mapping[str, str], filename: str = "picture") -> Answer:
        """Return the explanation of a picture file's bytes.

        Raise RefusedError if the server answers with an error, UnreachableError if it does not answer.
        """
        fields = [Part(name, value) for name, value in options.items()]
        body, content_type = form([*fields, Part("data", picture, filename)])
        path = "/".join(quote(part, safe="") for part in ("explanations", self.model, self.version) if part)
        url = f"{self.url.rstrip('/')}/{path}"
        try:
            reply = send(url, "POST", body, {"Content-Type": content_type}, self.token, self.timeout)
        except NoReplyError as error:
            raise UnreachableError(f"no TorchServe answers at {self.url} ({error})") from error
        if reply.status != 200:
            raise refusal(reply)
        return Answer(reply.body, reply.content_type, _content(reply))


def refusal(reply: Reply) -> RefusedError:
    """Return the error in a reply. It may come from TorchServe or from the model's handler."""
    try:
        error = cast("dict[str, str]", reply.json())
        return RefusedError(reply.status, error["type"], error["message"])
    except (ValueError, KeyError, TypeError):
        return RefusedError(reply.status, "Error", reply.body.decode(errors="replace")[:500] or "an empty answer")


def side_by_side(pictures: list[Image.Image], gap: int = 8) -> Image.Image | None:
    """Return the pictures in one row with transparent gaps, or None if there are none."""
    if len(pictures) < 2:
        return pictures[0] if pictures else None
    width = sum(picture.width + gap for picture in pictures) - gap
    row = Image.new("RGBA", (width, max(picture.height for picture in pictures)))
    left = 0
    for picture in pictures:
        row.paste(picture.convert("RGBA"), (left, 0))
        left += picture.width + gap
    return row


def _decode(image: Mapping[str, object]) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(str(image["data"]))))


def _content(reply: Reply) -> ExplanationBody | None:
    """Return the JSON of an explanation, which is in a header next to an array."""
    if reply.content_type == "image/png":
        return None
    text = reply.headers.get("Saliency-Metadata") if "npy" in reply.content_type else reply.body
    return cast("ExplanationBody", json.loads(text)) if text else None
