"""Put a server under load for minutes, then under faults, and report wrong answers, losses and memory.

    python -m tools.soak --minutes 15 --faults --out docs/soak.md

The model is the embedded one, or that of `--archive model_store/mine.mar`. Exit status: 0 if no answer was wrong, no
request was lost before the faults, and every fault was injected and recovered from; 1 if not; 2 if an argument is
wrong, the server does not start, or it gives wrong answers even without load.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

from tools import ROOT
from tools.soak import measurements, request_mix
from tools.soak.faults import FAULTS, Disk, SkippedError
from tools.soak.load import Load, UnfitError, reference_replies
from tools.soak.manifest import ArchiveError, name_and_version
from tools.soak.measurements import Fault, Soak
from tools.soak.memory import sample_memory
from tools.soak.plot import plot
from tools.soak.report import markdown
from torchserve_saliency_cli.leaves.draw import draw
from torchserve_saliency_cli.leaves.embedded_archive import archive_leaves
from torchserve_saliency_cli.torchserve.server import ServerError, TorchServe

RECOVERY_LIMIT = 180.0  # seconds to wait for recovery from a fault
SETTINGS = {"enable_model_api": "true", "default_workers_per_model": "1"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a soak, write its report, and return the exit status."""
    parser = _parser()
    args = parser.parse_args(arguments)
    if args.archive and not args.archive.is_file():
        parser.error(f"{args.archive}: no such archive")
    try:
        soak = _run(args)
    except (ArchiveError, ServerError, UnfitError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    failures = list(measurements.failures(soak))
    for line in failures[:20]:
        print(line)
    return int(bool(failures))


def _run(args: argparse.Namespace) -> Soak:
    """Start a server, run a soak on it, write the report, and return the measurements."""
    with tempfile.TemporaryDirectory(prefix="soak-") as folder, Disk(Path(folder) / "disk") as disk:
        archive = _archive(Path(folder) / "store", args.archive)
        with TorchServe(archive.parent, SETTINGS, folder=disk) as server:
            soak = run_soak(server, archive, args)
        model, version = name_and_version(archive)
    _write(args.out, {"model": model, "version": version, "minutes": args.minutes, "clients": args.clients}, soak)
    return soak


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--minutes", type=float, default=15, help="duration of the load without faults (default: 15)")
    parser.add_argument("--clients", type=int, default=8, help="number of clients (default: 8)")
    parser.add_argument("--faults", action="store_true", help="inject the faults afterwards, one after the other")
    parser.add_argument("--settle", type=float, default=10, help="seconds of load after each recovery (default: 10)")
    parser.add_argument("--archive", type=Path, help="archive to serve (default: the embedded model)")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "soak" / "soak.md", help="file for the report")
    return parser


def _archive(store: Path, archive: Path | None) -> Path:
    """Return the archive in a model store of its own, because faults add a second archive to the store."""
    if archive is None:
        return archive_leaves(store)
    store.mkdir(parents=True)
    return Path(shutil.copy(archive, store))


def run_soak(server: TorchServe, archive: Path, args: argparse.Namespace) -> Soak:
    """Run the load and the faults on a server, and return the measurements."""
    model = quote(name_and_version(archive)[0])
    valid = list(request_mix.valid_requests(model, list(_pictures())))
    hostile = list(request_mix.hostile_requests(model))
    references = reference_replies(server, [*valid, *hostile])
    with Load(server, valid, hostile, references, args.clients) as load, sample_memory(server) as samples:
        time.sleep(60 * args.minutes)
        ended = time.monotonic()
        faults = [_inject(name, server, archive, load, args.settle) for name in (FAULTS if args.faults else ())]
    return Soak(load.results, samples, ended, faults)


def _pictures() -> Iterator[bytes]:
    """Yield drawn leaves as PNG and JPEG, in several sizes."""
    variants = (("rust", "PNG", 224), ("scab", "JPEG", 300), ("black rot", "PNG", 160))
    for seed, (disease, form, size) in enumerate(variants):
        file = BytesIO()
        draw(seed + 4, [disease]).image.resize((size, size + 40)).save(file, form)
        yield file.getvalue()


def _inject(name: str, server: TorchServe, archive: Path, load: Load, settle: float) -> Fault:
    """Inject a fault, wait for recovery, and return the effect on the requests."""
    since, failed = time.monotonic(), ""
    try:
        FAULTS[name](server, archive)
    except SkippedError as reason:
        return Fault(name, since, skipped=str(reason))
    except Exception as error:
        failed = f"{type(error).__name__}: {error}"[:400]
    load.wait_for_recovery(RECOVERY_LIMIT)
    time.sleep(settle)
    results = [result for result in list(load.results) if result.end > since]
    return replace(measurements.measure_fault(name, since, results), failed=failed)


def _write(out: Path, settings: Mapping[str, object], soak: Soak) -> None:
    """Write the report, its plot next to it, and the measurements as JSON. Print the report."""
    out.parent.mkdir(parents=True, exist_ok=True)
    page = markdown(settings, soak, out.with_suffix(".png").name)
    out.write_text(page)
    plot(soak, out.with_suffix(".png"))
    figures = {"outcomes": measurements.outcomes(soak.results), "latencies": measurements.latencies(soak.before_faults)}
    figures |= {"growth": measurements.growth(soak), "faults": [asdict(fault) for fault in soak.faults]}
    json_file = ROOT / "build" / "soak" / "soak.json"
    json_file.parent.mkdir(parents=True, exist_ok=True)
    json_file.write_text(json.dumps({**settings, **figures}, indent=1))
    print(page)


if __name__ == "__main__":
    sys.exit(main())
