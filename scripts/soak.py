"""A server under load for minutes, and under faults: what was answered wrong, what was lost, what memory it took.

    python scripts/soak.py --minutes 15 --faults --out docs/soak.md

The model is the embedded one, or that of `--archive model_store/mine.mar`. Exit status: 0 no answer was wrong,
none was lost before the faults, and every fault came; 1 else; 2 something typed is wrong, or the server does not
start or answers wrong even what it is asked alone.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from http.client import HTTPException
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "handlers")]

import psutil

from scripts.embedded import archive_leaves
from scripts.leaves.draw import draw
from scripts.server import ServerError, TorchServe
from scripts.soaking import asks, report
from scripts.soaking.faults import FAULTS, Disk, SkippedError, workers
from scripts.soaking.load import Load, UnfitError, alone
from scripts.soaking.manifest import ArchiveError, named
from scripts.soaking.plot import plot
from scripts.soaking.report import Fault, Sample, Soak

EVERY = 1.0  # seconds between looks at the memory
WITHIN = 180.0  # seconds that a recovery is waited for
SETTINGS = {"enable_model_api": "true", "default_workers_per_model": "1"}


def main(words: Sequence[str] | None = None) -> int:
    """Run a soak, write its report, and return the exit status."""
    parser = _parser()
    args = parser.parse_args(words)
    if args.archive and not args.archive.is_file():
        parser.error(f"{args.archive}: no such archive")
    try:
        soak = _run(args)
    except (ArchiveError, ServerError, UnfitError) as error:
        print(f"soak.py: {error}", file=sys.stderr)
        return 2
    bad = list(report.complaints(soak))
    for line in bad[:20]:
        print(line)
    return int(bool(bad))


def _run(args: argparse.Namespace) -> Soak:
    """Return what came of a soak of a server of its own, with its report written."""
    with tempfile.TemporaryDirectory(prefix="soak-") as folder, Disk(Path(folder) / "disk") as disk:
        archive = _archive(Path(folder) / "store", args.archive)
        with TorchServe(archive.parent, SETTINGS, folder=disk) as server:
            soak = soaked(server, archive, args)
        model, version = named(archive)
    _write(args.out, {"model": model, "version": version, "minutes": args.minutes, "clients": args.clients}, soak)
    return soak


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="soak.py", description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--minutes", type=float, default=15, help="of load without faults: 15")
    parser.add_argument("--clients", type=int, default=8, help="that ask without a pause: 8")
    parser.add_argument("--faults", action="store_true", help="then let the faults come, one after the other")
    parser.add_argument("--settle", type=float, default=10, help="seconds of load after each fault: 10")
    parser.add_argument("--archive", type=Path, help="what is served: the embedded model")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "soak" / "soak.md", help="the report")
    return parser


def _archive(store: Path, archive: Path | None) -> Path:
    """Return the archive that is served, in a store of its own: faults register it again and write a second beside."""
    if archive is None:
        return archive_leaves(store)
    store.mkdir(parents=True)
    return Path(shutil.copy(archive, store))


def soaked(server: TorchServe, archive: Path, args: argparse.Namespace) -> Soak:
    """Return what the requests of a soak came to, the workers' memory, and what the faults did."""
    model = quote(named(archive)[0])
    good, hostile = list(asks.good(model, list(_pictures()))), list(asks.hostile(model))
    expected = alone(server, [*good, *hostile])
    with Load(server, good, hostile, expected, args.clients) as load, _watched(server) as samples:
        time.sleep(60 * args.minutes)
        ended = time.monotonic()
        faults = [_befallen(name, server, archive, load, args.settle) for name in (FAULTS if args.faults else ())]
    return Soak(load.results, samples, ended, faults)


def _pictures() -> Iterator[bytes]:
    """Yield drawn leaves as PNG and JPEG, of several sizes."""
    kinds = (("rust", "PNG", 224), ("scab", "JPEG", 300), ("black rot", "PNG", 160))
    for seed, (spots, form, size) in enumerate(kinds):
        file = BytesIO()
        draw(seed + 4, [spots]).image.resize((size, size + 40)).save(file, form)
        yield file.getvalue()


def _befallen(name: str, server: TorchServe, archive: Path, load: Load, settle: float) -> Fault:
    """Return what a fault did to the requests in flight, and when it was over."""
    since, failed = time.monotonic(), ""
    try:
        FAULTS[name](server, archive)
    except SkippedError as why:
        return Fault(name, since, skipped=str(why))
    except Exception as error:
        failed = f"{type(error).__name__}: {error}"[:400]
    load.recovery(WITHIN)
    time.sleep(settle)
    return replace(report.fault(name, since, [r for r in list(load.results) if r.end > since]), failed=failed)


@contextmanager
def _watched(server: TorchServe) -> Iterator[list[Sample]]:
    """Yield samples of the workers' memory, which grow until the end of the block."""
    samples = [_sample(server)]
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(EVERY):
            with suppress(psutil.Error, OSError, HTTPException, ServerError, ValueError):
                samples.append(_sample(server))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        ended.set()
        thread.join()


def _sample(server: TorchServe) -> Sample:
    pids = tuple(workers(server))
    return Sample(time.monotonic(), sum(psutil.Process(pid).memory_info().rss for pid in pids), pids)


def _write(out: Path, said: Mapping[str, object], soak: Soak) -> None:
    """Write the page, its plot beside it, and the figures as JSON; print the page."""
    out.parent.mkdir(parents=True, exist_ok=True)
    page = report.markdown(said, soak, out.with_suffix(".png").name)
    out.write_text(page)
    plot(soak, out.with_suffix(".png"))
    figures = {"outcomes": report.outcomes(soak.results), "latencies": report.latencies(soak.before)}
    figures |= {"growth": report.growth(soak), "faults": [asdict(fault) for fault in soak.faults]}
    kept = ROOT / "build" / "soak" / "soak.json"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps({**said, **figures}, indent=1))
    print(page)


if __name__ == "__main__":
    sys.exit(main())
