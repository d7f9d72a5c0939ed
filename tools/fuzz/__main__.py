"""Fuzz request reading and image decoding with atheris, starting from the corpus of hostile requests.

    python -m tools.fuzz --seconds 600
    python -m tools.fuzz --target image

Inputs that increase the coverage are kept in build/fuzz/TARGET/inputs; the next run starts from them. The native
decoders (libjpeg, libwebp, …) are not instrumented, so coverage does not guide the fuzzer inside them.
Exit status: 0 if nothing was found, 1 if an input in build/fuzz/TARGET breaks the contract, 2 if an argument is wrong.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from tools import ROOT
from tools.fuzz.inputs import image_seeds, request_seeds
from torchserve_saliency.methods import METHODS
from torchserve_saliency.requests.options import OPTIONS, PARAMETERS

MAX_LENGTH = 8_192  # bytes of an input
FINDINGS = ("crash-*", "timeout-*", "oom-*", "leak-*")
SEEDS: Mapping[str, Callable[[], Iterator[bytes]]] = MappingProxyType({"image": image_seeds, "request": request_seeds})


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz one target after the other, print a summary of each, and return the exit status."""
    args = _parser().parse_args(arguments)
    findings = [path for name in args.target or SEEDS for path in fuzz(name, args.seconds, args.out)]
    for path in findings:
        print(f"found: {path}")
    return int(bool(findings))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.fuzz",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--seconds", type=_positive, default=60, help="time per target (default: 60)")
    parser.add_argument("--target", action="append", choices=sorted(SEEDS), help="fuzz only this target")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "fuzz", help="folder for inputs and findings")
    return parser


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError("the seconds must be a positive integer")
    return int(text)


def fuzz(name: str, seconds: int, out: Path) -> list[Path]:
    """Fuzz a target and return the inputs that failed in this run. If only the process failed, return its log."""
    folder = out / name
    inputs = folder / "inputs"
    inputs.mkdir(parents=True, exist_ok=True)
    for seed in SEEDS[name]():
        if len(seed) <= MAX_LENGTH:
            (inputs / hashlib.sha256(seed).hexdigest()[:32]).write_bytes(seed)
    (out / "words.txt").write_text("".join(f'"{word}"\n' for word in sorted({*OPTIONS, *PARAMETERS, *METHODS})))
    before = set(_findings(folder))
    done = subprocess.run(
        _command(name, seconds, out), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace"
    )
    (folder / "log.txt").write_text(done.stderr)
    print(f"{name}: {summary(done.stderr)}", flush=True)
    findings = [path for path in _findings(folder) if path not in before]
    return findings or ([folder / "log.txt"] if done.returncode else [])


def _findings(folder: Path) -> list[Path]:
    """Return the inputs for which a target failed, in this run or an earlier one."""
    return sorted(path for pattern in FINDINGS for path in folder.glob(pattern))


def _command(name: str, seconds: int, out: Path) -> list[str]:
    """Return the command line of a target's process."""
    limits = [f"-max_total_time={seconds}", f"-max_len={MAX_LENGTH}", "-timeout=30", "-rss_limit_mb=4096"]
    paths = [f"-dict={out / 'words.txt'}", f"-artifact_prefix={out / name}/", str(out / name / "inputs")]
    return [sys.executable, "-m", "tools.fuzz.harness", name, *limits, "-print_final_stats=1", *paths]


def summary(log: str) -> str:
    """Return a run's number of executions, and its coverage after the seeds were read and at the end."""
    runs = re.findall(r"stat::number_of_executed_units:\s*(\d+)", log)
    first, last = re.search(r"INITED cov: (\d+)", log), re.findall(r"\bcov: (\d+)", log)
    executions = f"{int(runs[-1]):,} executions" if runs else "the run did not finish"
    return f"{executions}, coverage {first[1] if first else '?'} to {last[-1] if last else '?'}"


if __name__ == "__main__":
    sys.exit(main())
