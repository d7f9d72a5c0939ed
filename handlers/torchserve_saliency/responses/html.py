"""An explanation as HTML for a notebook: its predictions, and each map with its class, method and parameters."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from PIL import Image

from torchserve_saliency.responses.explanation import Explanation, Prediction, TargetMap
from torchserve_saliency.responses.png import to_png

LONGEST_SIDE = 480  # pixels of a picture in a notebook
LEAST_SIDE = 224
CELL = "padding:0 .8em 0 0;text-align:left;background:none"
NUMBER = "padding:0 .8em 0 0;text-align:right;background:none;font-variant-numeric:tabular-nums"


def page(explanation: Explanation, pictures: Sequence[Image.Image]) -> str:
    """Return the HTML of an explanation; `pictures` are its drawn maps, or empty if there are none."""
    parts = [
        f"<div><b>{escape(explanation.model)}</b> {escape(explanation.version)}",
        _predictions(explanation.predictions),
        '<div style="display:flex;flex-wrap:wrap;gap:1em;align-items:flex-start">',
        *(_figure(one, picture) for one, picture in zip(explanation.maps, pictures, strict=False)),
        "</div>",
        _method(explanation),
        "</div>",
    ]
    return "\n".join(parts)


def _predictions(predictions: Sequence[Prediction]) -> str:
    """Return a table of classes with their probabilities, each with a bar."""
    rows = [
        f'<tr style="background:none"><td style="{CELL}">{escape(one.label)}</td>'
        f'<td style="{NUMBER}">{one.probability:.1%}</td><td style="{CELL}">{_bar(one.probability)}</td>'
        f'<td style="{NUMBER}">class {one.index}</td></tr>'
        for one in predictions
    ]
    return f'<table style="border:none;margin:.3em 0">{"".join(rows)}</table>'


def _bar(share: float) -> str:
    width = 100 * min(max(share, 0.0), 1.0)
    return f'<div style="width:{width:.0f}px;height:.7em;background:#d9822b"></div>'


def _figure(one: TargetMap, picture: Image.Image) -> str:
    """Return a drawn map with its caption."""
    width = min(max(picture.width, LEAST_SIDE), LONGEST_SIDE * max(1, picture.width // max(picture.height, 1)))
    shown = picture.copy()
    shown.thumbnail((2 * width, 1 << 16))  # twice, for screens of high density
    data = base64.b64encode(to_png(shown)).decode("ascii")
    caption = _caption(one)
    return (
        f'<figure style="margin:0"><img width="{width}" alt="{escape(caption, quote=True)}" '
        f'src="data:image/png;base64,{data}"><figcaption>{escape(caption)}</figcaption></figure>'
    )


def _caption(one: TargetMap) -> str:
    """Return the class of a map with its probability, and the class against it."""
    against = f" against {one.against.label}" if one.against else ""
    return f"{one.target.label} ({one.target.probability:.1%}){against}"


def _method(explanation: Explanation) -> str:
    """Return the method with its parameters, and the warnings and findings of the maps."""
    lines = [f"<b>{escape(explanation.method)}</b> {_values(explanation.parameters)}"]
    lines += [escape(explanation.sanity)] if explanation.sanity else []
    lines += [escape(str(note)) for one in explanation.maps for note in one.findings.get("notes", ())]
    lines += [f"{escape(one.target.label)}: {_values(dict(_findings(one)))}" for one in explanation.maps]
    return "".join(f'<div style="color:#777">{line}</div>' for line in lines)


def _findings(one: TargetMap) -> Iterator[tuple[str, object]]:
    """Yield the findings of a map that are single values."""
    yield from ((name, value) for name, value in one.findings.items() if not isinstance(value, list | dict))


def _values(values: Mapping[str, Any]) -> str:
    """Return names and values, separated by commas."""
    return ", ".join(f"{escape(name)} = {escape(_text(value))}" for name, value in values.items() if value is not None)


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
