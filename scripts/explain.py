"""Explain pictures with a served model: print what it sees, save where it looks.

    python scripts/explain.py owl.jpg --model resnet18 --target 'great grey owl' --method grad_cam --out owl.png
    python scripts/explain.py photos/ --model resnet18 --out explained

Every option of the server is a flag here: --target, --against, --method, --score, --reduce, --render, --space,
--colormap, --top-k, --samples, --steps, --layer and so on; the server says what it does not take.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from scripts.client import Answer, RefusedError, Service, UnreachableError
from scripts.report import print_error, print_full, print_short, watched, write_json
from scripts.settings import KEY_FILE, read_token

PICTURES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
FLAGS = ("model", "version", "url", "token", "key-file", "out", "json", "timeout", "parallel")


@dataclass(frozen=True)
class Job:
    """One picture and the file that its explanation goes to."""

    picture: Path
    out: Path


@dataclass(frozen=True)
class Done:
    """A job's answer, or the server's refusal in its place, and the seconds that it took."""

    job: Job
    answer: Answer | RefusedError
    seconds: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Explain what the command line names; returns the exit status, 1 where anything was refused."""
    own, options = split(sys.argv[1:] if arguments is None else arguments)
    args = parser().parse_args(own)
    try:
        token = args.token or find_token(args.key_file)
        service = Service(args.url, args.model, args.version, token, args.timeout)
        jobs = plan(args.pictures, args.out, options.get("format", "png"))
        done = list(watched(explained(service, jobs, options, args.parallel), len(jobs)))
        report(done, args.json)
    except (OSError, ValueError, UnreachableError) as error:
        print(error, file=sys.stderr)
        return 1
    return int(any(isinstance(each.answer, RefusedError) for each in done))


def parser() -> argparse.ArgumentParser:
    """Return the parser of the client's own flags."""
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    made.add_argument("pictures", nargs="+", type=Path, help="picture files, and folders of them")
    made.add_argument("--model", required=True, help="the name that it is served under")
    made.add_argument("--version", help="its version (default: the server's default)")
    made.add_argument("--url", default="http://127.0.0.1:8080", help="the inference address (default: %(default)s)")
    made.add_argument("--token", help="the inference token (default: that of the key file)")
    made.add_argument("--key-file", type=Path, help=f"TorchServe's key file (default: ./{KEY_FILE}, if there)")
    made.add_argument("--out", type=Path, help="the picture to write, or the folder for several (default: here)")
    made.add_argument("--json", metavar="FILE", help="write the answers as JSON too, a line a picture; - prints them")
    made.add_argument("--timeout", type=float, default=150, help="seconds to wait for one answer (default: 150)")
    made.add_argument("--parallel", type=int, default=4, help="pictures in flight at once (default: 4)")
    return made


def split(arguments: Iterable[str]) -> tuple[list[str], dict[str, str]]:
    """Return the client's own arguments, and the options for the server by name: `--top-k 3` is top_k=3."""
    own: list[str] = []
    options: dict[str, str] = {}
    rest = list(arguments)
    while rest:
        flag, equals, value = rest.pop(0).partition("=")
        name = flag[2:]
        if not flag.startswith("--") or name in (*FLAGS, "help", ""):
            own.append(flag + equals + value)
            if flag.startswith("--") and name in FLAGS and not equals and rest:
                own.append(rest.pop(0))
        elif equals:
            options[name.replace("-", "_")] = value
        else:
            options[name.replace("-", "_")] = rest.pop(0) if rest and not rest[0].startswith("--") else "true"
    return own, options


def find_token(key_file: Path | None) -> str | None:
    """Return the inference token of the key file; None where none is named and none is here."""
    path = key_file or Path(KEY_FILE)
    if key_file is None and not path.exists():
        return None
    try:
        return read_token(path, "inference")
    except (ValueError, KeyError) as error:
        raise ValueError(f"{path} is not a key file of TorchServe") from error


def plan(paths: Sequence[Path], out: Path | None, format: str) -> list[Job]:
    """Return a job for each picture, folders opened; ValueError where there is none."""
    pictures = [found for path in paths for found in pictures_of(path)]
    if not pictures:
        raise ValueError("no pictures there")
    suffix = ".npy" if format == "npy" else ".png"
    single = len(pictures) == 1 and not paths[0].is_dir()
    if out is not None and single and not out.is_dir():
        return [Job(pictures[0], out if out.suffix else out.with_suffix(suffix))]
    names = unique([f"{path.stem}.saliency" for path in pictures])
    return [Job(path, (out or Path()) / (name + suffix)) for path, name in zip(pictures, names, strict=True)]


def pictures_of(path: Path) -> list[Path]:
    """Return the pictures of a folder, sorted, or the path itself."""
    if not path.is_dir():
        return [path]
    return sorted(each for each in path.iterdir() if each.suffix.lower() in PICTURES)


def unique(names: Sequence[str]) -> list[str]:
    """Return the names, numbered where one stands more than once."""
    seen: dict[str, int] = {}
    made = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        made.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return made


def explained(service: Service, jobs: Sequence[Job], options: Mapping[str, str], parallel: int) -> Iterator[Done]:
    """Yield each job when it is done, in order; a lost connection ends it with UnreachableError."""
    with ThreadPoolExecutor(max(1, parallel)) as pool:
        try:
            yield from pool.map(partial(explain, service, options), jobs)
        finally:
            pool.shutdown(cancel_futures=True)


def explain(service: Service, options: Mapping[str, str], job: Job) -> Done:
    """Return a job's answer, its picture (or array) written."""
    began = time.perf_counter()
    picture = job.picture.read_bytes()
    try:
        answer = service.explain(picture, {"render": "overlay", **options}, job.picture.name)
    except RefusedError as refused:
        return Done(job, refused, time.perf_counter() - began)
    seconds = time.perf_counter() - began
    save(answer, job.out)
    return Done(job, answer, seconds)


def save(answer: Answer, out: Path) -> None:
    """Write what the answer shows; nothing where it shows nothing (`render=none`)."""
    picture = None if answer.content_type == "application/x-npy" else answer.picture()
    if picture is None and answer.content_type == "application/json":
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    if picture is None:
        out.write_bytes(answer.body)
    else:
        (picture.convert("RGB") if out.suffix.lower() in (".jpg", ".jpeg") else picture).save(out)


def report(done: Sequence[Done], json: str | None) -> None:
    """Print what came of each job: in full for one, a line each for several; answers go to `json` too."""
    for each in done:
        if isinstance(each.answer, RefusedError):
            print_error(str(each.job.picture), each.answer)
    answers = [(each, each.answer) for each in done if isinstance(each.answer, Answer)]
    if json:
        write_json(json, [answer for _, answer in answers])
    if json == "-":
        return
    for each, answer in answers:
        show = print_full if len(done) == 1 else print_short
        show(each.job.picture.name, answer, each.job.out if each.job.out.exists() else None, each.seconds)


if __name__ == "__main__":
    sys.exit(main())
