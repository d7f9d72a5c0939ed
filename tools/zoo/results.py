"""Results as JSON lines, so that an interrupted run can continue."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tools.zoo.outcomes import BAD, METHODS, REFUSED, Cell


@dataclass(frozen=True)
class Result:
    """The result of one network: its cells by method, seconds by stage, and properties."""

    network: str
    cells: Mapping[str, Cell]
    seconds: Mapping[str, float] = field(default_factory=dict)
    parameters: int = 0
    input: Sequence[int] = ()
    layer: str | None = None
    grid: Sequence[int] = ()
    peak_bytes: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)


def failed(network: str, reason: str, seconds: float = 0.0) -> Result:
    """Return a result whose cells are all bad for one reason."""
    return Result(network, dict.fromkeys(METHODS, Cell(BAD, reason)), {"all": seconds})


def not_archived(network: str, reason: str) -> Result:
    """Return the result of a network that `torchserve-saliency archive` refuses."""
    return Result(network, dict.fromkeys(METHODS, Cell(REFUSED, f"not archived: {reason}")))


def read_results(path: Path) -> dict[str, Result]:
    """Return the last result of each network. An incomplete line is ignored."""
    results: dict[str, Result] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            entry = json.loads(line)
            cells = {method: Cell(**cell) for method, cell in entry.pop("cells").items()}
            results[entry["network"]] = Result(cells=cells, **entry)
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return results


def add_result(path: Path, result: Result) -> None:
    """Append a result to the file. If the last line is incomplete, start a new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    incomplete = path.is_file() and path.stat().st_size > 0 and not path.read_bytes().endswith(b"\n")
    with path.open("a", encoding="utf-8") as file:
        file.write(("\n" if incomplete else "") + json.dumps(asdict(result)) + "\n")


def remaining(networks: Iterable[str], done: Mapping[str, Result]) -> list[str]:
    """Return the networks without a result."""
    return [network for network in networks if network not in done]
