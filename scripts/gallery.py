"""Every method's map of one picture, side by side.

python scripts/gallery.py model_store/squeezenet.mar owl.jpg --out docs/methods.jpg
python scripts/gallery.py model_store/squeezenet.mar owl.jpg --methods gradient,grad_cam --target 24
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "handlers")]

from saliency.explainer import Explainer
from saliency.methods import METHODS
from saliency.methods.base import Shows
from saliency.needs import lacking
from saliency.response import encode
from scripts.evaluation.mappers import options_for, patient
from scripts.sheet import Cell, Section, contact_sheet

COLUMNS = 6


def gallery(explainer: Explainer, picture: Path, target: str, methods: Sequence[str]) -> Image.Image:
    """Return a sheet of the picture and of each method's map over it."""
    seen = explainer.explain(picture, render="none", top_k=1, target=target)
    first = Cell(Image.fromarray(seen.picture.pixels), "what the network sees")
    cells = [first, *_cells(explainer, picture, str(seen.maps[0].target.index), methods)]
    rows = [cells[start : start + COLUMNS] for start in range(0, len(cells), COLUMNS)]
    title = f"Why {seen.maps[0].target.label}? By {len(methods)} methods"
    note = "contributions: their positive part; sensitivities: their size; each over its own range"
    return contact_sheet(title, [Section("", note, [""] * COLUMNS, rows)])


def _cells(explainer: Explainer, picture: Path, target: str, methods: Sequence[str]) -> Iterator[Cell]:
    """Yield each method's picture."""
    for method in methods:
        shows = METHODS[method].shows
        options: dict[str, object] = {"target": target, **options_for(method), "format": "png"}
        options |= {"render": "overlay"} if shows is Shows.SALIENCY else {}
        yield Cell(square(drawn(explainer, None if shows is Shows.INPUT else picture, options)), method)


def drawn(explainer: Explainer, picture: Path | None, options: dict[str, object]) -> Image.Image:
    """Return the picture that a request with these options is answered with."""
    explanation = explainer.explain(picture, **options)
    body = encode(explanation, explainer.classifier.limits.max_response_bytes).body
    return Image.open(io.BytesIO(body)).convert("RGB")


def square(picture: Image.Image) -> Image.Image:
    """Return a picture in the middle of a white square."""
    side = max(picture.size)
    page = Image.new("RGB", (side, side), "white")
    page.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return page


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the sheet that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--target", default="predicted")
    parser.add_argument("--methods", type=lambda text: text.split(","), default=list(METHODS))
    parser.add_argument("--out", type=Path, default=Path("methods.jpg"))
    given = parser.parse_args(arguments)
    explainer = patient(given.archive)
    methods = [name for name in given.methods if lacking(name, explainer.classifier) is None]
    sheet = gallery(explainer, given.picture, given.target, methods)
    sheet.save(given.out, quality=88)


if __name__ == "__main__":
    main()
