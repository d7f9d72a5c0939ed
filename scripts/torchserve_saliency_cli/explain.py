"""Explain pictures with a served model: print its predictions and save the saliency maps."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torchserve_saliency_cli.client.printing import print_error, print_full, print_short, with_progress, write_json
from torchserve_saliency_cli.client.service import Answer, RefusedError, Service, UnreachableError
from torchserve_saliency_cli.program import program
from torchserve_saliency_cli.torchserve.properties import KEY_FILE, read_token

PICTURES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
USAGE = "%(prog)s PICTURE [PICTURE ...] --model NAME [FLAG ...] [--OPTION VALUE ...]"
EXAMPLES = """examples:
  %(prog)s owl.jpg --model resnet18 --target 'great grey owl' --method grad_cam --out owl.png
  %(prog)s photos/ --model resnet18 --out explained

Every option of the server is a flag: --target, --against, --method, --score, --reduce, --render, --space, --colormap,
--top-k, --samples, --steps, --layer and so on. A flag without a value means `true`. The server checks them.
"""


@dataclass(frozen=True)
class Job:
    """A picture, and the file that its explanation is written to."""

    picture: Path
    out: Path


@dataclass(frozen=True)
class Result:
    """A job's answer, or the server's error instead, and the seconds that it took."""

    job: Job
    answer: Answer | RefusedError
    seconds: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Explain the pictures; return the exit status, 1 if one of them was refused."""
    args, pictures, options = read_arguments(arguments)
    try:
        token = args.token or find_token(args.key_file)
        service = Service(args.url, args.model, args.version, token, args.timeout)
        jobs = plan(pictures, args.out, options.get("format", "png"))
        results = list(with_progress(explain_all(service, jobs, options, args.parallel), len(jobs)))
        report(results, args.json)
    except (OSError, ValueError, UnreachableError) as error:
        print(error, file=sys.stderr)
        return 1
    return int(any(isinstance(result.answer, RefusedError) for result in results))


def read_arguments(arguments: Sequence[str] | None) -> tuple[argparse.Namespace, list[Path], dict[str, str]]:
    """Return the client's own flags, the pictures, and the server's options by name (`--top-k 3` is top_k=3)."""
    made = parser()
    args, others = made.parse_known_args(arguments)
    pictures: list[Path] = []
    options: dict[str, str] = {}
    while others:
        word, equals, value = others.pop(0).partition("=")
        if word.startswith("--") and len(word) > 2:
            if not equals:
                value = others.pop(0) if others and not others[0].startswith("--") else "true"
            options[word[2:].replace("-", "_")] = value
        elif word.startswith("-"):
            made.error(f"there is no flag {word}")
        else:
            pictures.append(Path(word + equals + value))
    if not pictures:
        made.error("name at least one picture")
    return args, pictures, options


def parser() -> argparse.ArgumentParser:
    """Return the parser of the client's own flags."""
    made = argparse.ArgumentParser(
        prog=program("explain"),
        usage=USAGE,
        description=f"{__doc__} A PICTURE is a file, or a folder of them.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("--model", required=True, help="name of the model on the server")
    made.add_argument("--version", help="version of the model (default: the server's default)")
    made.add_argument("--url", default="http://127.0.0.1:8080", help="inference address (default: %(default)s)")
    made.add_argument("--token", help="inference token (default: that of the key file)")
    made.add_argument("--key-file", type=Path, help=f"TorchServe's key file (default: ./{KEY_FILE}, if it exists)")
    made.add_argument("--out", type=Path, help="picture file, or folder for several pictures (default: this folder)")
    made.add_argument("--json", metavar="FILE", help="also write the answers as JSON, one per line; - prints them")
    made.add_argument("--timeout", type=float, default=150, help="seconds to wait for an answer (default: %(default)s)")
    made.add_argument("--parallel", type=int, default=4, help="requests sent at once (default: %(default)s)")
    return made


def find_token(key_file: Path | None) -> str | None:
    """Return the inference token of the key file, or None if no file is given and none is in this folder."""
    path = key_file or Path(KEY_FILE)
    if key_file is None and not path.exists():
        return None
    try:
        return read_token(path, "inference")
    except (ValueError, KeyError) as error:
        raise ValueError(f"{path} is not a key file of TorchServe") from error


def plan(paths: Sequence[Path], out: Path | None, format: str) -> list[Job]:
    """Return one job per picture, also of those in folders; raise ValueError without any picture."""
    pictures = [picture for path in paths for picture in pictures_in(path)]
    if not pictures:
        raise ValueError("there are no pictures in the folder")
    suffix = ".npy" if format == "npy" else ".png"
    single = len(pictures) == 1 and not paths[0].is_dir()
    if out is not None and single and not out.is_dir():
        return [Job(pictures[0], out if out.suffix else out.with_suffix(suffix))]
    names = unique([f"{path.stem}.saliency" for path in pictures])
    return [Job(path, (out or Path()) / (name + suffix)) for path, name in zip(pictures, names, strict=True)]


def pictures_in(path: Path) -> list[Path]:
    """Return the pictures in a folder, sorted, or the path of a file itself."""
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.iterdir() if file.suffix.lower() in PICTURES)


def unique(names: Sequence[str]) -> list[str]:
    """Return the names; a repeated name gets a number."""
    counts: dict[str, int] = {}
    numbered = []
    for name in names:
        counts[name] = counts.get(name, 0) + 1
        numbered.append(name if counts[name] == 1 else f"{name}-{counts[name]}")
    return numbered


def explain_all(service: Service, jobs: Sequence[Job], options: Mapping[str, str], parallel: int) -> Iterator[Result]:
    """Yield the results in the order of the jobs; raise UnreachableError without an answer."""
    with ThreadPoolExecutor(max(1, parallel)) as pool:
        try:
            yield from pool.map(partial(explain, service, options), jobs)
        finally:
            pool.shutdown(cancel_futures=True)


def explain(service: Service, options: Mapping[str, str], job: Job) -> Result:
    """Return a job's result, and write its picture or array."""
    began = time.perf_counter()
    picture = job.picture.read_bytes()
    try:
        answer = service.explain(picture, {"render": "overlay", **options}, job.picture.name)
    except RefusedError as refused:
        return Result(job, refused, time.perf_counter() - began)
    seconds = time.perf_counter() - began
    save(answer, job.out)
    return Result(job, answer, seconds)


def save(answer: Answer, out: Path) -> None:
    """Write the answer's picture or array, or nothing after `render=none`."""
    picture = None if answer.content_type == "application/x-npy" else answer.picture()
    if picture is None and answer.content_type == "application/json":
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    if picture is None:
        out.write_bytes(answer.body)
    else:
        (picture.convert("RGB") if out.suffix.lower() in (".jpg", ".jpeg") else picture).save(out)


def report(results: Sequence[Result], json: str | None) -> None:
    """Print a single result in full, several results in one line each; also write the answers to `json`."""
    for result in results:
        if isinstance(result.answer, RefusedError):
            print_error(str(result.job.picture), result.answer)
    answered = [(result, result.answer) for result in results if isinstance(result.answer, Answer)]
    if json:
        write_json(json, [answer for _, answer in answered])
    if json == "-":
        return
    show = print_full if len(results) == 1 else print_short
    for result, answer in answered:
        show(result.job.picture.name, answer, result.job.out if result.job.out.exists() else None, result.seconds)
