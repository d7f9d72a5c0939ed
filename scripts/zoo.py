"""Every classifier of torchvision and one of each family of timm, archived and explained: the matrix of what works.

    python scripts/zoo.py --out docs/zoo.md --results build/zoo.jsonl    # goes on where it was interrupted
    python scripts/zoo.py --sample
    python scripts/zoo.py --networks resnet18,timm:convnext_atto

Exit status: 0 no cell is bad, 1 some are, 2 something typed is wrong.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "handlers")]

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

from scripts.matrix.cells import BAD, GOOD, REFUSED
from scripts.matrix.networks import SAMPLE, every_network
from scripts.matrix.processes import run_all
from scripts.matrix.results import Result, add_result, read_results, remaining
from scripts.matrix.table import counts, markdown
from scripts.matrix.trial import tried


def main(words: Sequence[str] | None = None) -> int:
    """Try the networks that the command line asks for, print and write the matrix; return the exit status."""
    parser = _parser()
    args = parser.parse_args(words)
    networks = _networks(parser, args)
    with tempfile.TemporaryDirectory() as scratch:
        path = args.results or Path(scratch) / "results.jsonl"
        left = [] if args.page else remaining(networks, read_results(path))
        for number, result in enumerate(run_all(left, tried, args.jobs, args.limit), 1):
            add_result(path, result)
            print(f"[{number}/{len(left)}] {_line(result)}", file=sys.stderr, flush=True)
        found = read_results(path)
    results = [found[network] for network in networks if network in found]
    page = markdown(results, networks)
    print(page)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(page, encoding="utf-8")
    return int(counts(results)[BAD] > 0)


def _parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="zoo.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--sample", action="store_true", help=f"ten small ones: {', '.join(SAMPLE)}")
    which.add_argument("--networks", type=lambda text: text.split(","), metavar="A,B", help="these alone")
    parser.add_argument("--results", type=Path, help="lines of JSON that a run adds to, and that are not tried again")
    parser.add_argument("--out", type=Path, help="Markdown file that the matrix is written to")
    parser.add_argument("--page", action="store_true", help="try nothing: make the page of the results that are there")
    parser.add_argument("--jobs", type=int, default=1, help="networks at a time: 1")
    parser.add_argument("--limit", type=float, default=1800, help="seconds that one network may take: 1800")
    return parser


def _networks(parser: argparse.ArgumentParser, args: argparse.Namespace) -> list[str]:
    """Return the networks asked for; exit 2 where one of them is not of the zoo's kinds."""
    if args.jobs < 1 or not args.limit > 0:
        parser.error("--jobs and --limit are positive")
    if args.sample:
        return list(SAMPLE)
    if args.networks is None:
        return every_network()
    wrong = [name for name in args.networks if not name.strip()]
    if wrong:
        parser.error("--networks: a name is empty")
    return list(dict.fromkeys(args.networks))


def _line(result: Result) -> str:
    """Return a network's outcomes on a line."""
    cells = ", ".join(
        f"{method} {cell.outcome}{f' ({cell.reason})' if cell.outcome != GOOD else ''}"
        for method, cell in result.cells.items()
    )
    found = counts([result])
    return f"{result.network}: {found[GOOD]} good, {found[REFUSED]} refused, {found[BAD]} bad; {cells}; " + ", ".join(
        f"{stage} {seconds:.0f} s" for stage, seconds in result.seconds.items()
    )


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the network under way ends with us
    sys.exit(main())
