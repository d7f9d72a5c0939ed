"""Archive and explain every classifier of torchvision and one of each family of timm, and write a table of the results.

    python -m tools.zoo --out docs/zoo.md --results build/zoo.jsonl    # continues an interrupted run
    python -m tools.zoo --sample
    python -m tools.zoo --networks resnet18,timm:convnext_atto

Exit status: 0 if no cell is bad, 1 if some are, 2 if an argument is wrong.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # must be set before torch is imported

from tqdm import tqdm

from tools.zoo.networks import SAMPLE, every_network
from tools.zoo.outcomes import BAD, GOOD, REFUSED
from tools.zoo.process_pool import run_all
from tools.zoo.results import Result, add_result, read_results, remaining
from tools.zoo.table import counts, markdown
from tools.zoo.trial import run_trial


def main(arguments: Sequence[str] | None = None) -> int:
    """Try the networks, print and write the table, and return the exit status."""
    parser = _parser()
    args = parser.parse_args(arguments)
    networks = _networks(parser, args)
    # Trials run in forks of this process. So tqdm must neither start its monitor thread nor share a lock with them.
    tqdm.monitor_interval = 0
    tqdm.set_lock(threading.RLock())
    with tempfile.TemporaryDirectory() as scratch:
        path = args.results or Path(scratch) / "results.jsonl"
        missing = [] if args.page else remaining(networks, read_results(path))
        for result in tqdm(run_all(missing, run_trial, args.jobs, args.limit), "networks", len(missing)):
            add_result(path, result)
            tqdm.write(_line(result), file=sys.stderr)
        by_name = read_results(path)
    results = [by_name[network] for network in networks if network in by_name]
    page = markdown(results, networks)
    print(page)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(page, encoding="utf-8")
    return int(counts(results)[BAD] > 0)


def _parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.zoo",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--sample", action="store_true", help=f"try ten small networks: {', '.join(SAMPLE)}")
    chosen.add_argument("--networks", type=lambda text: text.split(","), metavar="A,B", help="try only these networks")
    parser.add_argument("--results", type=Path, help="file of JSON lines; networks with a result are not tried again")
    parser.add_argument("--out", type=Path, help="Markdown file for the table")
    parser.add_argument(
        "--page", action="store_true", help="try no network, only write the page of the existing results"
    )
    parser.add_argument("--jobs", type=int, default=1, help="number of networks at a time (default: 1)")
    parser.add_argument("--limit", type=float, default=1800, help="time limit per network in seconds (default: 1800)")
    return parser


def _networks(parser: argparse.ArgumentParser, args: argparse.Namespace) -> list[str]:
    """Return the networks to try. Exit with status 2 if an argument is wrong."""
    if args.jobs < 1 or not args.limit > 0:
        parser.error("--jobs and --limit must be positive")
    if args.sample:
        return list(SAMPLE)
    if args.networks is None:
        return every_network()
    if not all(name.strip() for name in args.networks):
        parser.error("--networks: a name is empty")
    return list(dict.fromkeys(args.networks))


def _line(result: Result) -> str:
    """Return the outcomes of a network as one line."""
    cells = ", ".join(
        f"{method} {cell.outcome}{f' ({cell.reason})' if cell.outcome != GOOD else ''}"
        for method, cell in result.cells.items()
    )
    total = counts([result])
    seconds = ", ".join(f"{stage} {each:.0f} s" for stage, each in result.seconds.items())
    outcomes = f"{total[GOOD]} good, {total[REFUSED]} refused, {total[BAD]} bad"
    return f"{result.network}: {outcomes}; {cells}; {seconds}"


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the processes of running trials are ended
    sys.exit(main())
