"""Results of networks as lines of JSON: a run that was interrupted goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from scripts.matrix.cells import BAD, METHODS, REFUSED, Cell


@dataclass(frozen=True)
class Result:
    """What came of one network: its cells by method, seconds by stage, and what it turned out to be."""

    network: str
    cells: Mapping[str, Cell]
    seconds: Mapping[str, float] = field(default_factory=dict)
    parameters: int = 0
    input: Sequence[int] = ()
    layer: str | None = None
    grid: Sequence[int] = ()
    peak_bytes: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)


def failed(network: str, why: str, seconds: float = 0.0) -> Result:
    """Return the result of a network of which nothing more is known than what went wrong."""
    return Result(network, dict.fromkeys(METHODS, Cell(BAD, why)), {"all": seconds})


def not_archived(network: str, why: str) -> Result:
    """Return the result of a network that scripts/archive.py refuses."""
    return Result(network, dict.fromkeys(METHODS, Cell(REFUSED, f"not archived: {why}")))


def read_results(path: Path) -> dict[str, Result]:
    """Return the results by network, the last of each; a line that was cut off is left out."""
    results: dict[str, Result] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            said = json.loads(line)
            cells = {method: Cell(**cell) for method, cell in said.pop("cells").items()}
            results[said["network"]] = Result(cells=cells, **said)
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return results


def add_result(path: Path, result: Result) -> None:
    """Add a result to the file, on a line of its own even after one that was cut off."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cut = path.is_file() and path.stat().st_size > 0 and not path.read_bytes().endswith(b"\n")
    with path.open("a", encoding="utf-8") as file:
        file.write(("\n" if cut else "") + json.dumps(asdict(result)) + "\n")


def remaining(networks: Iterable[str], done: Mapping[str, Result]) -> list[str]:
    """Return the networks that have no result yet."""
    return [network for network in networks if network not in done]
