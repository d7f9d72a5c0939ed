"""Rank the methods on pictures: are they faithful to the network, do they lie where they should, how long do they take?

    python scripts/evaluate.py model_store/squeezenet.mar --pictures photographs/
    python scripts/evaluate.py --leaves 60
    python scripts/evaluate.py model_store/squeezenet.mar --pictures photographs/ --methods gradient,grad_cam --json out

Photographs: area under the curves of deletion and of insertion (Petsiuk et al. 2018) for the predicted class; mosaics
of four photographs of four classes: the share of a map in its class's cell, and whether it points there (Böhle et al.
2021). Drawn leaves: whether the greatest value lies in a lesion of the disease asked for, and the share of the map in
those lesions. A random map, a Gaussian in the middle and edges are measured beside them.

Exit status: 0 measured, 2 something typed is wrong.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "handlers")]

from saliency.explainer import Explainer
from saliency.methods import METHODS
from saliency.needs import lacking
from scripts.archiving.pictures import picture_files, spread
from scripts.embedded import archive_leaves
from scripts.evaluation.mappers import BLIND, NO_MAPS, Mapper, explained, patient
from scripts.evaluation.photographs import alone, mosaics
from scripts.evaluation.run import Figures, judged, placed
from scripts.evaluation.table import Column, table
from scripts.leaves.cases import double_cases, single_cases

Parts = dict[str, dict[str, Figures]]
PHOTOGRAPHS: Sequence[Column] = (
    ("deletion ↓", "photographs", "deletion_blur", 3),
    ("insertion ↑", "photographs", "insertion_blur", 3),
    ("share in its cell ↑", "mosaics", "share", 2),
    ("points into its cell ↑", "mosaics", "pointing", 2),
    ("ms", "photographs", "ms", 0),
)
LEAVES: Sequence[Column] = (
    ("one disease: pointing", "single", "pointing", 2),
    ("share", "single", "share", 2),
    ("two diseases, each asked for: pointing", "double", "pointing", 2),
    ("share", "double", "share", 2),
)


def main(words: Sequence[str] | None = None) -> int:
    """Measure what the command line asks for, and print the table; return the exit status."""
    parser = _parser()
    given = parser.parse_args(words)
    methods = given.methods.split(",") if given.methods else [name for name in METHODS if name not in NO_MAPS]
    if unknown := set(methods) - (set(METHODS) - NO_MAPS):
        parser.error(f"no map is measured of a method '{min(unknown)}'")
    if (given.archive is None) != (given.pictures is None) or not (given.archive or given.leaves):
        parser.error("an archive goes with --pictures; without them, --leaves N measures the embedded model")
    if given.leaves:
        names, parts, columns = *leaf_figures(methods, given.leaves), LEAVES
    else:
        names, parts, columns = *photograph_figures(given, methods), PHOTOGRAPHS
    print("\n".join(table(parts, columns, names)))
    if given.json:
        given.json.write_text(json.dumps({"figures": parts, "versions": versions()}, indent=1), encoding="utf-8")
    return 0


def photograph_figures(given: argparse.Namespace, methods: Sequence[str]) -> tuple[list[str], Parts]:
    """Return the names of what was measured on photographs, and its figures."""
    explainer, paths = patient(given.archive), picture_files(given.pictures)
    cases = [alone(path, explainer, seed) for seed, path in enumerate(spread(paths, given.count))]
    mappers = _mappers(explainer, methods)
    mixed = mosaics(paths, explainer, given.mosaics)
    return list(mappers), {"photographs": judged(explainer, mappers, cases), "mosaics": placed(mappers, mixed, 0)}


def leaf_figures(methods: Sequence[str], count: int) -> tuple[list[str], Parts]:
    """Return the names of what was measured on leaves, and its figures."""
    with tempfile.TemporaryDirectory() as folder:
        explainer = patient(archive_leaves(Path(folder), quiet=True))
    ones, twos = list(single_cases(count)), list(double_cases((count + 1) // 2))
    mappers = _mappers(explainer, methods)
    return list(mappers), {"single": placed(mappers, ones), "double": placed(mappers, twos)}


def _mappers(explainer: Explainer, methods: Sequence[str]) -> dict[str, Mapper]:
    """Return what makes each kind of map, without the methods that the network cannot take: these are said."""
    refused = {name: why for name in methods if (why := lacking(name, explainer.classifier))}
    for why in refused.values():
        print(f"left out: {why}", file=sys.stderr)
    return {f"`{name}`": explained(explainer, name) for name in methods if name not in refused} | dict(BLIND)


def versions() -> dict[str, str]:
    """Return what was measured with."""
    return {name: version(name) for name in ("torch", "torchvision", "numpy")} | {"python": platform.python_version()}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path, nargs="?", help="an archive of scripts/archive.py, for --pictures")
    parser.add_argument("--pictures", type=Path, help="a folder of photographs")
    parser.add_argument("--count", type=int, default=20, help="photographs that are judged, spread over the folder: 20")
    parser.add_argument("--mosaics", type=int, default=5, help="mosaics of four photographs: 5")
    parser.add_argument(
        "--leaves", type=int, help="measure the embedded model on so many drawn leaves with one disease"
    )
    parser.add_argument("--methods", help="separated by commas; by default all that make a map")
    parser.add_argument("--json", type=Path, help="file for the figures")
    return parser


if __name__ == "__main__":
    sys.exit(main())
