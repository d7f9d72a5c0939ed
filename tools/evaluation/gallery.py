"""Write a sheet with every method's map of one picture.

python -m tools.evaluation.gallery model_store/squeezenet.mar owl.jpg --out docs/methods.jpg
python -m tools.evaluation.gallery model_store/squeezenet.mar owl.jpg --methods gradient,grad_cam --target 24
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from tools.evaluation.map_sources import load_patient, options_for
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.methods import METHODS
from torchserve_saliency.methods.base import Shows
from torchserve_saliency.requests.compatibility import unsupported_reason
from torchserve_saliency.responses.encoding import encode
from torchserve_saliency_cli.contact_sheet import Cell, Section, contact_sheet

COLUMNS = 6


def gallery(explainer: Explainer, picture: Path, target: str, methods: Sequence[str]) -> Image.Image:
    """Return a sheet with the picture and an overlay of each method's map."""
    explanation = explainer.explain(picture, render="none", top_k=1, target=target)
    first = Cell(Image.fromarray(explanation.picture.pixels), "the network's input")
    cells = [first, *_cells(explainer, picture, str(explanation.maps[0].target.index), methods)]
    rows = [cells[start : start + COLUMNS] for start in range(0, len(cells), COLUMNS)]
    title = f"{len(methods)} methods for the class {explanation.maps[0].target.label}"
    note = "positive part of contributions, magnitude of sensitivities, each scaled to its own range"
    return contact_sheet(title, [Section("", note, [""] * COLUMNS, rows)])


def _cells(explainer: Explainer, picture: Path, target: str, methods: Sequence[str]) -> Iterator[Cell]:
    """Yield each method's picture."""
    for method in methods:
        shows = METHODS[method].shows
        options: dict[str, Any] = {"target": target, **options_for(method), "format": "png"}
        options |= {"render": "overlay"} if shows is Shows.SALIENCY else {}
        yield Cell(square(rendered(explainer, None if shows is Shows.INPUT else picture, options)), method)


def rendered(explainer: Explainer, picture: Path | None, options: dict[str, Any]) -> Image.Image:
    """Return the picture in the response to a request with these options."""
    explanation = explainer.explain(picture, **options)
    body = encode(explanation, explainer.classifier.limits.max_response_bytes).body
    return Image.open(io.BytesIO(body)).convert("RGB")


def square(picture: Image.Image) -> Image.Image:
    """Return a picture centred on a white square."""
    side = max(picture.size)
    page = Image.new("RGB", (side, side), "white")
    page.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return page


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the sheet."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.evaluation.gallery",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("archive", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--target", default="predicted")
    parser.add_argument("--methods", type=lambda text: text.split(","), default=list(METHODS))
    parser.add_argument("--out", type=Path, default=Path("methods.jpg"))
    args = parser.parse_args(arguments)
    explainer = load_patient(args.archive)
    methods = [name for name in args.methods if unsupported_reason(name, explainer.classifier) is None]
    sheet = gallery(explainer, args.picture, args.target, methods)
    sheet.save(args.out, quality=88)


if __name__ == "__main__":
    main()
