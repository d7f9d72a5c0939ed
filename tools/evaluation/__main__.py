"""Compare the methods on pictures: faithfulness to the network, position of the maps, and time.

    python -m tools.evaluation model_store/squeezenet.mar --pictures photographs/
    python -m tools.evaluation --leaves 60
    python -m tools.evaluation model_store/squeezenet.mar --pictures photographs/ --methods gradient,grad_cam --json out

Photographs: the areas under the deletion and insertion curves (Petsiuk et al. 2018) of the predicted class. Mosaics of
four photographs of four classes: the share of a map in the cell of its class, and whether the map points into that cell
(Böhle et al. 2021). Drawn leaves: whether the greatest value lies in a lesion of the requested disease, and the share
of the map in those lesions. A random map, a centred Gaussian and an edge map are measured for comparison.

The folder of photographs may have subfolders. Exit status: 0 if everything was measured, 2 if an argument is wrong, for
example a folder without a picture that can be read.
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

from PIL import Image

from tools.evaluation.leaf_cases import double_cases, single_cases
from tools.evaluation.map_sources import CONTROL_MAPPERS, NO_MAPS, Mapper, load_patient, method_mapper
from tools.evaluation.photographs import mosaics, single_case
from tools.evaluation.run import Measurements, measure_faithfulness, measure_localisation
from tools.evaluation.table import Column, table
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.methods import METHODS
from torchserve_saliency.requests.compatibility import unsupported_reason
from torchserve_saliency_cli.archiving.pictures import spread
from torchserve_saliency_cli.client.picture_files import picture_files
from torchserve_saliency_cli.leaves.embedded_archive import archive_leaves

Parts = dict[str, dict[str, Measurements]]
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
    ("two diseases, each requested: pointing", "double", "pointing", 2),
    ("share", "double", "share", 2),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the maps, print the table and return the exit status."""
    parser = _parser()
    args = parser.parse_args(arguments)
    methods = args.methods.split(",") if args.methods else [name for name in METHODS if name not in NO_MAPS]
    if unknown := set(methods) - (set(METHODS) - NO_MAPS):
        parser.error(f"there is no method '{min(unknown)}' that makes a saliency map")
    if min(args.count, args.mosaics + 1, 1 if args.leaves is None else args.leaves) < 1:
        parser.error("--count and --leaves must be 1 or more, and --mosaics 0 or more")
    if (args.archive is None) != (args.pictures is None) or (args.archive is None) == (args.leaves is None):
        parser.error("give an archive and --pictures, or only --leaves N to measure the embedded model")
    if args.leaves is not None:
        names, parts, columns = *leaf_figures(methods, args.leaves), LEAVES
    else:
        names, parts, columns = *photograph_figures(args, readable(args, parser), methods), PHOTOGRAPHS
    print(table(parts, columns, names))
    if args.json:
        args.json.write_text(json.dumps({"figures": parts, "versions": versions()}, indent=1), encoding="utf-8")
    return 0


def readable(args: argparse.Namespace, parser: argparse.ArgumentParser) -> list[Path]:
    """Return the photographs in the folder and its subfolders; exit with 2 if there are none.

    Those that cannot be decoded are named and left out.
    """
    if not args.archive.exists():
        parser.error(f"there is no archive {args.archive}")
    if not args.pictures.is_dir():
        parser.error(f"--pictures {args.pictures} is no folder")
    try:
        files = [file.path for file in picture_files([args.pictures])]
    except ValueError as error:
        parser.error(f"--pictures: {error}")
    found = []
    for path in files:
        try:
            with Image.open(path) as image:
                image.load()
            found.append(path)
        except Exception as error:  # decoders raise almost anything on broken data
            print(f"left out: {path} cannot be read ({error})", file=sys.stderr)
    if not found:
        parser.error(f"none of the pictures in {args.pictures} can be read")
    return found


def photograph_figures(
    args: argparse.Namespace, paths: Sequence[Path], methods: Sequence[str]
) -> tuple[list[str], Parts]:
    """Return the kinds of maps and their measurements on photographs and mosaics."""
    explainer = load_patient(args.archive)
    cases = [single_case(path, explainer, seed) for seed, path in enumerate(spread(paths, args.count))]
    mappers = _mappers(explainer, methods)
    mixed = mosaics(paths, explainer, args.mosaics)
    return list(mappers), {
        "photographs": measure_faithfulness(explainer, mappers, cases),
        "mosaics": measure_localisation(mappers, mixed, 0),
    }


def leaf_figures(methods: Sequence[str], count: int) -> tuple[list[str], Parts]:
    """Return the kinds of maps and their measurements on drawn leaves."""
    with tempfile.TemporaryDirectory() as folder:
        explainer = load_patient(archive_leaves(Path(folder), quiet=True))
    singles, doubles = list(single_cases(count)), list(double_cases((count + 1) // 2))
    mappers = _mappers(explainer, methods)
    return list(mappers), {
        "single": measure_localisation(mappers, singles),
        "double": measure_localisation(mappers, doubles),
    }


def _mappers(explainer: Explainer, methods: Sequence[str]) -> dict[str, Mapper]:
    """Return the mapper of each kind of map. A method that the network does not support is reported and left out."""
    unsupported = {name: reason for name in methods if (reason := unsupported_reason(name, explainer.classifier))}
    for reason in unsupported.values():
        print(f"left out: {reason}", file=sys.stderr)
    supported = [name for name in methods if name not in unsupported]
    return {f"`{name}`": method_mapper(explainer, name) for name in supported} | dict(CONTROL_MAPPERS)


def versions() -> dict[str, str]:
    """Return the versions of the packages and of Python."""
    return {name: version(name) for name in ("torch", "torchvision", "numpy")} | {"python": platform.python_version()}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.evaluation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "archive", type=Path, nargs="?", help="an archive made by `torchserve-saliency archive`; needs --pictures"
    )
    parser.add_argument("--pictures", type=Path, help="folder of photographs, also in subfolders")
    parser.add_argument(
        "--count", type=int, default=20, help="number of photographs, spread over the folder (default: 20)"
    )
    parser.add_argument("--mosaics", type=int, default=5, help="number of mosaics of four photographs (default: 5)")
    parser.add_argument(
        "--leaves", type=int, help="measure the embedded model on this number of drawn leaves with one disease"
    )
    parser.add_argument("--methods", help="names separated by commas (default: all that make a saliency map)")
    parser.add_argument("--json", type=Path, help="file for the measurements")
    return parser


if __name__ == "__main__":
    sys.exit(main())
