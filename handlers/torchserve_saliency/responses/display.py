"""An explanation that can draw, save and show itself, for programs and notebooks."""

from __future__ import annotations

import base64
import copy
import io
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from torchserve_saliency.errors import bad_option
from torchserve_saliency.images.preprocessing import project
from torchserve_saliency.methods.base import Shows
from torchserve_saliency.responses.drawing import draw_target
from torchserve_saliency.responses.encoding import encode
from torchserve_saliency.responses.explanation import Explanation, TargetMap
from torchserve_saliency.responses.html import page
from torchserve_saliency.responses.image_grid import concatenate
from torchserve_saliency.responses.photo_formats import to_photo
from torchserve_saliency.responses.png import to_png
from torchserve_saliency.responses.view_values import changed_view

PHOTOS = {".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}
PICTURE_SUFFIXES = (".png", *PHOTOS)
SUFFIXES = (*PICTURE_SUFFIXES, ".npy", ".json")


@dataclass(frozen=True, repr=False, eq=False)
class DisplayedExplanation(Explanation):
    """An explanation as the interface in Python returns it, and as the client rebuilds it from a server's answer.

    `answer` is the JSON body of the server, or None if the explanation was made in this process.
    """

    answer: Mapping[str, Any] | None = None

    @property
    def array(self) -> NDArray[np.float32]:
        """Return the maps of all targets, float32 [T, H, W], or [T, C, H, W] with `reduce=none`.

        Raise ValueError if the explanation was asked with `render=none`, and has no maps.
        """
        if not self.maps:
            return self.empty_map()[None][:0]
        if not self.has_maps:
            raise ValueError("the explanation has no maps, as it was asked with render='none'")
        return np.stack([one.saliency for one in self.maps])

    @property
    def has_maps(self) -> bool:
        """Tell if there are maps: there are none if no class was explained, or with `render=none`."""
        return bool(self.maps) and all(one.saliency.size for one in self.maps)

    def image(self, render: str | None = None, *, index: int | None = None, **view: Any) -> Image.Image:
        """Return the maps drawn, without asking the network again: all targets side by side, or that at `index`.

        `render` and the further options (`space`, `colormap`, `alpha`, `clip`, `floor`, `backdrop`, `caption`) are
        those of a request, with those of `explain` as the defaults; a plain heatmap becomes an overlay. A picture that
        a method makes itself is returned as it is. Raise RequestError 400 for an invalid value, and if there is no map.
        """
        if not self.has_maps:
            raise bad_option("render", "there is no map to draw: no class was explained, or 'render' was none")
        drawn = self._with_view(render, view)
        maps = drawn.maps if index is None else (drawn.maps[index],)
        received = received_images(self) if self.shows is Shows.INPUT else ()
        if received:  # it cannot be made of the map without the network's preprocessing
            return concatenate(received if index is None else (received[index],))
        return concatenate([draw_target(one, drawn) for one in maps])

    def _with_view(self, render: str | None, view: Mapping[str, Any]) -> DisplayedExplanation:
        """Return the explanation with another view, and its maps in the space of that."""
        if self.shows is Shows.SALIENCY:
            render = render or (self.view.render if self.view.render not in ("heatmap", "none") else "overlay")
        elif render not in (None, "heatmap"):
            raise bad_option("render", f"'{self.method}' makes a picture of its own: 'render' must be heatmap")
        changed = changed_view(self.view, {"render": render or "heatmap", **view})
        if changed.space == self.view.space:
            return replace(self, view=changed)
        if changed.space == "input" or self.shows is not Shows.SALIENCY:
            raise bad_option(
                "space", f"these maps cannot be drawn in the space '{changed.space}': ask for it in explain"
            )
        size, crop = self.picture.original.size, self.picture.crop
        maps = tuple(replace(one, saliency=project(one.saliency, crop, *size)) for one in self.maps)
        return replace(self, view=changed, maps=maps)

    def save(self, path: str | os.PathLike[str], **view: Any) -> Path:
        """Write a file by its suffix, and return its path.

        `.png`, `.jpg` and `.webp` are the picture of `image(**view)`, `.npy` is the exact array of all maps, and
        `.json` the body of a server's answer. Raise ValueError for another suffix.
        """
        path = Path(path)
        suffix = path.suffix.lower()
        if suffix not in SUFFIXES:
            raise ValueError(f"the suffix of {path.name!r} must be one of {', '.join(SUFFIXES)}")
        if suffix == ".npy":
            data = _npy(self.array)
        elif suffix == ".json":
            data = json.dumps(self.to_dict(), ensure_ascii=False, indent=1).encode()
        else:
            data = picture_file(self.image(**view), suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON body of a server's answer. An answer that was received is returned as it came.

        Each map is in 256 levels, as in an answer; the exact values are in `array`.
        """
        made: dict[str, Any] = json.loads(encode(replace(self, format="json"), sys.maxsize).body)
        if self.answer is None:
            return made
        answer = copy.deepcopy(dict(self.answer))
        for entry, own in zip(answer["explanations"], made["explanations"], strict=True):
            if "saliency" not in entry and "saliency" in own:  # of an array, the answer has the other fields only
                entry["saliency"] = own["saliency"]
        return answer

    def __repr__(self) -> str:
        best = self.predictions[0] if self.predictions else None
        prediction = f"{best.label!r} {best.probability:.1%}" if best else "no predictions"
        targets = ", ".join(_target_text(one) for one in self.maps) or "no class"
        return f"<Explanation of {targets} by {self.method}; predicted: {prediction}>"

    def _repr_png_(self) -> bytes | None:
        """Return the maps of all targets as a PNG for a notebook, or None if there are none."""
        return to_png(self.image()) if self.has_maps else None

    def _repr_html_(self) -> str:
        """Return the predictions and the maps with their method and parameters, for a notebook."""
        pictures = [self.image(index=index) for index in range(len(self.maps))] if self.has_maps else []
        return page(self, pictures)


def displayed(explanation: Explanation, answer: Mapping[str, Any] | None = None) -> DisplayedExplanation:
    """Return an explanation as one that can draw, save and show itself."""
    values = {field.name: getattr(explanation, field.name) for field in fields(Explanation)}
    return DisplayedExplanation(**values, answer=answer)


def _target_text(one: TargetMap) -> str:
    return repr(one.target.label) + (f" against {one.against.label!r}" if one.against else "")


def received_images(explanation: DisplayedExplanation) -> Sequence[Image.Image]:
    """Return the pictures that a server's answer holds, if it holds one for each target."""
    entries = explanation.answer["explanations"] if explanation.answer else []
    images = [entry["image"]["data"] for entry in entries if entry.get("image")]
    decoded = [Image.open(io.BytesIO(base64.b64decode(data))) for data in images]
    return decoded if len(decoded) == len(explanation.maps) else ()


def _npy(array: NDArray[np.float32]) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def picture_file(picture: Image.Image, suffix: str) -> bytes:
    """Return a picture as a file of the kind of a suffix; transparent pixels are white in a JPEG or WebP."""
    name = PHOTOS.get(suffix.lower())
    return to_png(picture) if name is None else to_photo(picture, name, sys.maxsize)
