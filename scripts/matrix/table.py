"""The matrix as Markdown: what was asked, how many cells are good, every network, every reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from scripts.matrix.cells import GOOD, METHODS, OUTCOMES, Cell
from scripts.matrix.results import Result

_HOW = """\
Every classifier that torchvision builds (the quantized spellings are the same networks) and one of each family of
timm, with seeded random weights (`--weights none`; a head that starts at zero gets seeded weights, batch norms have
seen seeded patterns), archived by `scripts/archive.py`, unpacked, loaded by the handler and asked through it, on one
drawn leaf of 448 by 336 pixels. A cell is **good** where the map is finite and not constant, **refused** where the
answer is 422 and its reason is true, **bad** for anything else. `python scripts/zoo.py --out docs/zoo.md` makes this
page; `--sample` tries ten of them.

Grad-CAM is asked for the three best classes and is good where one map is not constant: it keeps what speaks for a
class, and in a random network that may be nothing.

What was cut, and nothing else: integrated gradients take 4 steps; the self-check takes slopes along 2 directions in
place of 5 (`--directions 2`), and the test of the weights is left out (`--sanity off`); archives are stored, not
deflated (`--archive-format zip-store`); the batch size that the handler warms up for is 1; networks of torchvision past
7 billion multiplications, and those whose best weights take 380 pixels or more, are archived with `--input-size 128`
(126 for `vit_h_14`), where they have all their layers and weights and fewer cells. Seconds are those of processors, of
archive, self-check, loading and explanations together."""


def markdown(results: Sequence[Result], networks: Sequence[str]) -> str:
    """Return the page; `networks` are those that were wanted, in their order."""
    found = {result.network: result for result in results}
    rows = [found[network] for network in networks if network in found]
    reasons = _numbered(rows)
    lacking = [network for network in networks if network not in found]
    parts = [
        "# Every classifier",
        _HOW,
        _versions(rows),
        _counts(rows),
        f"Not tried: {', '.join(lacking)}." if lacking else "",
        *(["## Reasons", _reasons(rows, reasons)] if reasons else []),
        "## Networks",
        _matrix(rows, reasons),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def counts(results: Iterable[Result]) -> Counter[str]:
    """Return how many cells are good, refused and bad."""
    return Counter(cell.outcome for result in results for cell in result.cells.values())


def _versions(rows: Sequence[Result]) -> str:
    """Return what the results were made with; several of a package where they were made with several."""
    held: dict[str, set[str]] = {}
    for row in rows:
        for name, version in row.versions.items():
            held.setdefault(name, set()).add(version)
    return (
        "Made with " + ", ".join(f"{name} {' and '.join(sorted(v))}" for name, v in held.items()) + "." if held else ""
    )


def _counts(rows: Sequence[Result]) -> str:
    """Return the counts of cells, by method and in all."""
    by_method = {method: Counter(row.cells[method].outcome for row in rows) for method in METHODS}
    everything = {**by_method, f"all {len(rows)} networks": counts(rows)}
    lines = [[name, *(str(count[outcome]) for outcome in OUTCOMES)] for name, count in everything.items()]
    return _table(["", *OUTCOMES], lines)


def _numbered(rows: Sequence[Result]) -> Mapping[tuple[str, str], int]:
    """Return a number for each (outcome, reason), in the order in which they come."""
    found = dict.fromkeys(_key(cell) for row in rows for cell in row.cells.values() if cell.outcome != GOOD)
    return {key: number for number, key in enumerate(found, 1)}


def _key(cell: Cell) -> tuple[str, str]:
    return cell.outcome, cell.reason


def _reasons(rows: Sequence[Result], reasons: Mapping[tuple[str, str], int]) -> str:
    """Return the reasons, with how many cells each of them has."""
    cells = Counter(_key(cell) for row in rows for cell in row.cells.values())
    lines = [[str(n), key[0], _escaped(key[1]), str(cells[key])] for key, n in reasons.items()]
    return _table(["", "outcome", "reason", "cells"], lines)


def _matrix(rows: Sequence[Result], reasons: Mapping[tuple[str, str], int]) -> str:
    """Return the table of networks."""
    head = ["network", "million parameters", "input", "default CAM layer", "its grid", *METHODS, "processor seconds"]
    lines = [
        [
            f"`{row.network}`",
            f"{row.parameters / 1e6:.1f}" if row.parameters else "",
            _product(row.input),
            f"`{row.layer}`" if row.layer else "",
            _product(row.grid),
            *(_shown(row.cells[method], reasons) for method in METHODS),
            f"{row.seconds.get('processor', 0):.0f}",
        ]
        for row in rows
    ]
    return _table(head, lines)


def _shown(cell: Cell, reasons: Mapping[tuple[str, str], int]) -> str:
    """Return a cell as it stands in the table: the number of its reason beside it."""
    if cell.outcome == GOOD:
        return GOOD
    return f"{cell.outcome} ({reasons[_key(cell)]})"


def _product(sides: Sequence[int]) -> str:
    return " × ".join(map(str, sides))


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *lines))
