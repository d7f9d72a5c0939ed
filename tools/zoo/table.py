"""The results as a Markdown page: the setup, the number of good cells, every network, every reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from tools.markdown_table import markdown_table
from tools.zoo.outcomes import GOOD, METHODS, OUTCOMES, Cell
from tools.zoo.results import Result

_HOW = """\
This page is for people who want to know if a network of torchvision or timm works. It has every classifier of
torchvision (without the quantized variants, which are the same networks) and one of each family of timm. The weights
are random and seeded (`--weights none`; a head that starts at zero gets seeded weights too, and batch norms get
statistics of seeded patterns). Each network is archived with `torchserve-saliency archive`, loaded by the handler, and
asked to explain one drawn leaf of 448 by 336 pixels. A cell is **good** if the map is finite and not constant,
**refused** if the answer has status 422 and a true reason, and **bad** in all other cases. This page is made by
`python -m tools.zoo --out docs/zoo.md`; `--sample` tries ten networks.

Grad-CAM is computed for the three best classes. Its cell is good if at least one map is not constant: the maps keep
positive evidence only, and in a random network a class may have none.

To save time, integrated gradients use 4 steps, the self-check uses 2 directions instead of 5 (`--directions 2`) and no
randomised weights (`--sanity off`), archives are not compressed (`--archive-format zip-store`), and the batch size
is one. Networks of torchvision with more than 7 billion multiplications, or with a default input of 380 pixels or
more, have inputs of 128 pixels (`--input-size 128`; 126 for `vit_h_14`). Seconds are processor time for archive,
self-check, loading and explanations together."""


def markdown(results: Sequence[Result], networks: Sequence[str]) -> str:
    """Return the page; `networks` holds all the requested networks, in the order of the rows."""
    by_name = {result.network: result for result in results}
    rows = [by_name[network] for network in networks if network in by_name]
    reasons = _numbered(rows)
    missing = [network for network in networks if network not in by_name]
    parts = [
        "# Every classifier",
        _HOW,
        _versions(rows),
        _counts(rows),
        f"Not tried: {', '.join(missing)}." if missing else "",
        *(["## Reasons", _reasons(rows, reasons)] if reasons else []),
        "## Networks",
        _networks(rows, reasons),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def counts(results: Iterable[Result]) -> Counter[str]:
    """Return the number of cells per outcome."""
    return Counter(cell.outcome for result in results for cell in result.cells.values())


def _versions(rows: Sequence[Result]) -> str:
    """Return the versions of the packages; several versions of one package if results were made at different times."""
    versions: dict[str, set[str]] = {}
    for row in rows:
        for name, version in row.versions.items():
            versions.setdefault(name, set()).add(version)
    listed = ", ".join(f"{name} {' and '.join(sorted(each))}" for name, each in versions.items())
    return f"Made with {listed}." if listed else ""


def _counts(rows: Sequence[Result]) -> str:
    """Return the table of the number of cells per outcome, by method and in total."""
    by_method = {method: Counter(row.cells[method].outcome for row in rows) for method in METHODS}
    all_counts = {**by_method, f"all {len(rows)} networks": counts(rows)}
    lines = [[name, *(str(count[outcome]) for outcome in OUTCOMES)] for name, count in all_counts.items()]
    return markdown_table(["", *OUTCOMES], lines, "l" + "r" * len(OUTCOMES))


def _numbered(rows: Sequence[Result]) -> Mapping[tuple[str, str], int]:
    """Return a number for each pair of outcome and reason, in order of appearance."""
    keys = dict.fromkeys(_key(cell) for row in rows for cell in row.cells.values() if cell.outcome != GOOD)
    return {key: number for number, key in enumerate(keys, 1)}


def _key(cell: Cell) -> tuple[str, str]:
    return cell.outcome, cell.reason


def _reasons(rows: Sequence[Result], reasons: Mapping[tuple[str, str], int]) -> str:
    """Return the table of the reasons and their numbers of cells."""
    cells = Counter(_key(cell) for row in rows for cell in row.cells.values())
    lines = [[str(number), *key, str(cells[key])] for key, number in reasons.items()]
    return markdown_table(["", "outcome", "reason", "cells"], lines, "rllr")


def _networks(rows: Sequence[Result], reasons: Mapping[tuple[str, str], int]) -> str:
    """Return the table of networks."""
    head = ["network", "million parameters", "input", "default CAM layer", "its output", *METHODS, "processor seconds"]
    lines = [
        [
            f"`{row.network}`",
            f"{row.parameters / 1e6:.1f}" if row.parameters else "",
            _product(row.input),
            f"`{row.layer}`" if row.layer else "",
            _product(row.grid),
            *(_text(row.cells[method], reasons) for method in METHODS),
            f"{row.seconds.get('processor', 0):.0f}",
        ]
        for row in rows
    ]
    return markdown_table(head, lines, "lrlll" + "l" * len(METHODS) + "r")


def _text(cell: Cell, reasons: Mapping[tuple[str, str], int]) -> str:
    """Return the text of a cell: its outcome and the number of its reason."""
    if cell.outcome == GOOD:
        return GOOD
    return f"{cell.outcome} ({reasons[_key(cell)]})"


def _product(sides: Sequence[int]) -> str:
    return " × ".join(map(str, sides))
