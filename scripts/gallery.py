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

from saliency.errors import RequestError
from saliency.explainer import Explainer
from saliency.methods import METHODS
from saliency.response import encode
from scripts.evaluation.mappers import options_for
from scripts.sheet import Cell, Section, contact_sheet, words

COLUMNS = 6


def gallery(explainer: Explainer, picture: Path, target: str, methods: Sequence[str]) -> Image.Image:
    """Return a sheet of the picture and of each method's map over it; a method that is refused says why."""
    seen = explainer.explain(picture, render="none", top_k=1, target=target)
    first = Cell(Image.fromarray(seen.picture.pixels), "what the network sees")
    cells = [first, *_cells(explainer, picture, str(seen.maps[0].target.index), methods)]
    rows = [cells[start : start + COLUMNS] for start in range(0, len(cells), COLUMNS)]
    title = f"Why {seen.maps[0].target.label}? By {len(methods)} methods"
    note = "contributions: their positive part; sensitivities: their size; each over its own range"
    return contact_sheet(title, [Section("", note, [""] * COLUMNS, rows)])


def _cells(explainer: Explainer, picture: Path, target: str, methods: Sequence[str]) -> Iterator[Cell]:
    """Yield each method's picture, or the reason for which there is none."""
    for method in methods:
        options: dict[str, object] = {"target": target, **options_for(method), "format": "png", "render": "overlay"}
        try:
            yield Cell(drawn(explainer, picture, options), method)
        except RequestError as error:
            yield Cell(words(error.message), method)


def drawn(explainer: Explainer, picture: Path, options: dict[str, object]) -> Image.Image:
    """Return the picture that a request with these options is answered with."""
    explanation = explainer.explain(picture, **options)
    body = encode(explanation, explainer.classifier.limits.max_response_bytes).body
    return Image.open(io.BytesIO(body)).convert("RGB")


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the sheet that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--target", default="predicted")
    parser.add_argument("--methods", type=lambda text: text.split(","), default=list(METHODS))
    parser.add_argument("--out", type=Path, default=Path("methods.jpg"))
    given = parser.parse_args(arguments)
    sheet = gallery(Explainer.load(given.archive), given.picture, given.target, given.methods)
    sheet.save(given.out, quality=88)


if __name__ == "__main__":
    main()
