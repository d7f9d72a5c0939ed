"""Request and image decoding under coverage-guided fuzzing (atheris), begun from the corpus of hostile requests.

    python scripts/fuzz.py --seconds 600
    python scripts/fuzz.py --target image

Inputs that grew the coverage are kept in build/fuzz/TARGET/inputs, and the next run goes on from them. Native decoders
(libjpeg, libwebp, …) are not instrumented: inside of them, inputs are found by chance alone.
Exit status: 0 nothing was found, 1 an input that broke the contract lies in build/fuzz/TARGET,
2 something typed is wrong.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "handlers")]

from saliency.methods import METHODS
from saliency.options import OPTIONS, PARAMETERS
from saliency.protocols import PROTOCOLS
from scripts.corpus import entries, files
from scripts.corpus.entry import EXPLAIN
from scripts.corpus.pictures import saved, scene

LONGEST = 8_192  # bytes of an input
FINDINGS = ("crash-*", "timeout-*", "oom-*", "leak-*")
EXPLAINS, AS_JSON, BINARY, FORM, WITH_PICTURE = (
    4,
    1,
    8,
    16,
    32,
)  # bits of an input's first byte, as scripts/harness.py reads it


def main(words: Sequence[str] | None = None) -> int:
    """Fuzz the targets one after the other, print what each came to, and return the exit status."""
    args = _parser().parse_args(words)
    found = [path for name in args.target or SEEDS for path in fuzzed(name, args.seconds, args.out)]
    for path in found:
        print(f"found: {path}")
    return int(bool(found))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fuzz.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--seconds", type=_positive, default=60, help="time that each target has: 60")
    parser.add_argument("--target", action="append", choices=sorted(SEEDS), help="this one alone")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "fuzz", help="folder of inputs and findings")
    return parser


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError("seconds are a whole number from 1")
    return int(text)


def fuzzed(name: str, seconds: int, out: Path) -> list[Path]:
    """Return the inputs on which a target failed in so many seconds, not those of runs before."""
    folder = out / name
    inputs = folder / "inputs"
    inputs.mkdir(parents=True, exist_ok=True)
    for seed in SEEDS[name]():
        if len(seed) <= LONGEST:
            (inputs / hashlib.sha256(seed).hexdigest()[:32]).write_bytes(seed)
    (out / "words.txt").write_text("".join(f'"{word}"\n' for word in sorted({*OPTIONS, *PARAMETERS, *METHODS})))
    before = set(_findings(folder))
    done = subprocess.run(
        _command(name, seconds, out), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace"
    )
    (folder / "log.txt").write_text(done.stderr)
    print(f"{name}: {summary(done.stderr)}", flush=True)
    found = [path for path in _findings(folder) if path not in before]
    return found or ([folder / "log.txt"] if done.returncode else [])


def _findings(folder: Path) -> list[Path]:
    """Return the inputs on which a target failed."""
    return sorted(path for pattern in FINDINGS for path in folder.glob(pattern))


def _command(name: str, seconds: int, out: Path) -> list[str]:
    """Return the command line of a target's process."""
    limits = [f"-max_total_time={seconds}", f"-max_len={LONGEST}", "-timeout=30", "-rss_limit_mb=4096"]
    places = [f"-dict={out / 'words.txt'}", f"-artifact_prefix={out / name}/", str(out / name / "inputs")]
    return [sys.executable, str(ROOT / "scripts" / "harness.py"), name, *limits, "-print_final_stats=1", *places]


def summary(log: str) -> str:
    """Return a run in a sentence: executions, and coverage when the corpus was read and at the end."""
    runs = re.findall(r"stat::number_of_executed_units:\s*(\d+)", log)
    first, last = re.search(r"INITED cov: (\d+)", log), re.findall(r"\bcov: (\d+)", log)
    executions = f"{int(runs[-1]):,} executions" if runs else "it did not run to its end"
    return f"{executions}, coverage {first[1] if first else '?'} to {last[-1] if last else '?'}"


def image_seeds() -> Iterator[bytes]:
    """Yield the pictures of the corpus."""
    for _, data, _ in files():
        yield data


def request_seeds() -> Iterator[bytes]:
    """Yield the requests of the corpus, as scripts/harness.py reads them."""
    for entry in entries():
        head = EXPLAINS if entry.headers.get("explain") == "True" else 0
        path = str(entry.headers.get("url_path", EXPLAIN["url_path"])).replace("\n", " ")
        route = f"{path}\n{entry.headers.get('ACCEPT', '')}\n".encode(errors="replace")
        for kind, body in _bodies(entry.fields):
            yield bytes([head | kind]) + route + body
    for name in METHODS:
        yield bytes([EXPLAINS | FORM]) + f"method={name}&target=cat\nimage/png;q=0.5, */*\n".encode()
    yield from _binary_seeds()


def _binary_seeds() -> Iterator[bytes]:
    """Yield tensors behind their JSON, whose length stands where `Accept` does in other inputs."""
    picture = saved(scene((4, 2)), "PNG") or b""
    element = len(picture).to_bytes(4, "little") + picture
    for datatype, shape, data in (("BYTES", [1], element), ("UINT8", [1, 2, 4, 3], bytes(24)), ("FP32", [1], bytes(4))):
        tensor = {"name": "x", "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": len(data)}}
        said = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
        yield bytes([EXPLAINS | BINARY]) + b"\n%d\n" % len(said) + said + data


def _bodies(fields: Mapping[str, object]) -> Iterator[tuple[int, bytes]]:
    """Yield a row's fields as bytes, without their picture, and the bits that tell what they are."""
    options = {name: value for name, value in fields.items() if name != "data"}
    body = options.get("body")
    if isinstance(body, bytes | bytearray):
        yield AS_JSON, bytes(body)
    elif isinstance(body, dict):
        try:
            pictured = 0 if PROTOCOLS.keys() & body.keys() else WITH_PICTURE
            yield pictured, json.dumps({k: v for k, v in body.items() if k != "data"}).encode()
        except RecursionError:
            return
    elif all(isinstance(value, bytes | bytearray) for value in options.values()):
        yield FORM, b"\0".join(b"%b=%b" % (k.encode(errors="replace"), bytes(v)) for k, v in options.items())  # type: ignore[call-overload]


SEEDS: Mapping[str, Callable[[], Iterator[bytes]]] = MappingProxyType({"image": image_seeds, "request": request_seeds})

if __name__ == "__main__":
    sys.exit(main())
