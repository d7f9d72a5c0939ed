"""A person's visit of the page in a browser, with records of everything that must not happen."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import ConsoleMessage, Locator, Page, Request, expect

from torchserve_saliency import Client
from torchserve_saliency_cli.client.transport import send
from torchserve_saliency_cli.torchserve.properties import KEY_FILE
from torchserve_saliency_cli.torchserve.server import TorchServe

SAMPLE = "rust/1.png"
LEAVES = {"model": "leaves", "version": "1.0", "picture": f"sample:{SAMPLE}", "file": "1.png"}
SLOWEST = 120_000.0  # milliseconds for all maps of a page on a busy machine
REFUSED = "Failed to load resource"  # Chromium's note on every answer of a status from 400; it has no stack trace


@dataclass(frozen=True)
class PageServer:
    """A running page, the TorchServe behind it, and its folder of samples."""

    url: str
    torchserve: TorchServe
    samples: Path

    @property
    def key_file(self) -> Path:
        return self.torchserve.folder / KEY_FILE

    def description(self, model: str = "leaves") -> dict[str, Any]:
        """Return the description of a model, as the page gets it."""
        found = send(f"{self.url}api/models/{model}/1.0").json()
        assert isinstance(found, dict)
        return found

    def array(self, picture: str | Path = SAMPLE, model: str = "leaves", **options: object) -> NDArray[np.float32]:
        """Return the exact maps of TorchServe itself for a sample or a file."""
        file = picture if isinstance(picture, Path) else self.samples / picture
        with Client(self.torchserve.url, key_file=self.key_file) as client:
            return client.explain(file, model=model, version="1.0", format="npy", **options).array


def nearly_same(left: dict[str, NDArray[np.float32]], right: dict[str, NDArray[np.float32]]) -> bool:
    """Tell whether the same maps look the same: in a batch with others, a value may be rounded to the next level."""
    assert left.keys() == right.keys()
    return all(float((abs(left[name] - right[name]) > 4).mean()) < 1e-3 for name in left)


class Visit:
    """A page in a context of its own."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.errors: list[str] = []
        self.requests: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._note)
        page.context.on("request", self._count)

    def _note(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not message.text.startswith(REFUSED):
            self.errors.append(message.text)

    def _count(self, request: Request) -> None:
        self.requests.append(request.url)

    def check(self) -> None:
        """Raise AssertionError after an error on the page, or a request to another host."""
        assert not self.errors, self.errors
        left = [url for url in self.requests if not url.startswith((self.url, f"blob:{self.url}", "data:"))]
        assert not left, left

    def asked(self) -> list[str]:
        """Return the requests to the routes that ask TorchServe."""
        return [url for url in self.requests if "/api/explanations/" in url]

    def go(self, fragment: str) -> None:
        """Open a link by the part after its `#`, and wait until nothing is under way."""
        self.page.goto(f"{self.url}#{fragment}")
        self.done()

    def open(self, *cards: str, **parts: str) -> None:
        """Open the link of these cards; the model is the embedded one, and the picture a sample, unless told."""
        self.go(urlencode([*(LEAVES | parts).items(), *(("card", card) for card in cards)]))

    def done(self, timeout: float = SLOWEST) -> None:
        """Wait until nothing is under way."""
        expect(self.status).to_have_text(re.compile("done$"), timeout=timeout)

    @property
    def status(self) -> Locator:
        return self.page.get_by_role("status")

    @property
    def fragment(self) -> str:
        return self.page.url.partition("#")[2]

    def card(self, method: str) -> Locator:
        return self.page.get_by_role("region", name=method, exact=True)

    def map(self, method: str) -> Locator:
        return self.card(method).get_by_role("img")

    def field(self, method: str, name: str) -> Locator:
        return self.card(method).get_by_label(name, exact=True)

    def combobox(self, name: str) -> Locator:
        return self.page.get_by_role("combobox", name=name, exact=True)

    def add(self, method: str) -> None:
        """Add a card for a method."""
        self.combobox("Add a method").select_option(method)
        expect(self.card(method)).to_be_visible()

    def explain(self, method: str) -> None:
        """Add a card for a method, allow its cost if it asks, and wait for its end."""
        self.add(method)
        self.done()
        button = self.card(method).get_by_role("button", name=re.compile("^Explain"))
        if button.is_visible():
            button.click()
            self.done()

    def choose(self, name: str, value: str) -> None:
        """Type a value into a combobox of the question, and wait for the answer."""
        self.combobox(name).fill(value)
        self.combobox(name).press("Tab")
        self.done()

    def upload(self, file: str | Path | Sequence[Any] | dict[str, Any]) -> None:
        """Choose a file, and wait for the answer."""
        self.page.get_by_label("Picture", exact=True).set_input_files(file)  # type: ignore[arg-type]
        self.done()

    def alerts(self) -> list[str]:
        """Return the texts of all errors on the page."""
        return self.page.get_by_role("alert").all_text_contents()

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Return the contents of all maps in RGBA by their accessible names."""
        found = {name: data.partition(",")[2] for name, (data,) in self.pixels().items()}
        images = {name: Image.open(io.BytesIO(base64.b64decode(data))) for name, data in found.items()}
        return {name: np.asarray(image.convert("RGBA"), np.float32) for name, image in images.items()}

    def pixels(self) -> dict[str, list[str]]:
        """Return the exact contents of all maps by their accessible names."""
        script = "all => all.map(map => [map.getAttribute('aria-label'), map.toDataURL()])"
        found: list[list[str]] = self.page.locator("canvas[role=img]").evaluate_all(script)
        return {f"{number} {name}": [data] for number, (name, data) in enumerate(found)}
