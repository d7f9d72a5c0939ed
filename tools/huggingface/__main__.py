"""Archive image classifiers of Hugging Face's transformers, and print a table in Markdown.

python -m tools.huggingface            every method on a small random network of each architecture
python -m tools.huggingface --sizes    size and times of networks of published sizes, beside transformers itself

Exit status: 1 if a cell is bad.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import astuple

from tools.huggingface.methods import outcomes
from tools.huggingface.networks import CONFIGURATIONS
from tools.huggingface.sizes import NETWORKS, measure
from tools.markdown_table import markdown_table
from tools.zoo.outcomes import BAD, GOOD, REFUSED, Cell
from torchserve_saliency.methods import METHODS

_SIZES = (
    *("network", "archive MB", "model.safetensors MB", "archiving s", "load s", "transformers loads s"),
    *("explanation ms", "transformers' forward and backward ms"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return 1 if a cell is bad."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.huggingface", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help=f"one of {', '.join(CONFIGURATIONS)}")
    parser.add_argument("--sizes", action="store_true", help=f"measure {', '.join(NETWORKS)}")
    args = parser.parse_args(arguments)
    known = NETWORKS if args.sizes else CONFIGURATIONS
    if unknown := [name for name in args.networks if name not in known]:
        parser.error(f"'{unknown[0]}' is not one of {', '.join(known)}")
    chosen = args.networks or list(known)
    if args.sizes:
        rows = [(name, *(f"{value:.3g}" for value in astuple(measure(name)))) for name in chosen]
        print(markdown_table(_SIZES, rows, "l" + "r" * (len(_SIZES) - 1)))
        return 0
    cells = {name: outcomes(name) for name in chosen}
    print(method_table(cells))
    return int(any(cell.outcome == BAD for row in cells.values() for cell in row.values()))


def method_table(cells: Mapping[str, Mapping[str, Cell]]) -> str:
    """Return a table with a row per network: the number of good methods, and the others with their reasons."""
    rows = []
    for name, row in cells.items():
        count = sum(cell.outcome == GOOD for cell in row.values())
        rows.append((name, f"{count} of {len(METHODS)}", _by_reason(row, REFUSED), _by_reason(row, BAD)))
    return markdown_table(("network", "good", "refused", "bad"), rows, "lrll")


def _by_reason(row: Mapping[str, Cell], outcome: str) -> str:
    """Return the methods of an outcome, those with the same reason together."""
    methods: dict[str, list[str]] = {}
    for method, cell in row.items():
        if cell.outcome == outcome:
            methods.setdefault(cell.reason.removeprefix(f"'{method}' "), []).append(f"`{method}`")
    return "; ".join(f"{', '.join(names)}: {reason}" for reason, names in methods.items())


if __name__ == "__main__":
    sys.exit(main())
