"""Explain pictures with a served model: print its predictions and save the saliency maps."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from torchserve_saliency.errors import RequestError
from torchserve_saliency.methods.base import Shows
from torchserve_saliency_cli.client.asking import Job, Service, shows
from torchserve_saliency_cli.client.client import Client
from torchserve_saliency_cli.client.picture_files import PictureFile, picture_files
from torchserve_saliency_cli.client.printing import print_error, print_full, print_short, print_summary, with_progress
from torchserve_saliency_cli.client.results import open_records
from torchserve_saliency_cli.client.sheet import Sheet
from torchserve_saliency_cli.client.true_classes import TrueClass, TrueClasses
from torchserve_saliency_cli.program import program
from torchserve_saliency_cli.torchserve.properties import KEY_FILE

SUFFIXES = {"npy": ".npy", "numpy": ".npy", "jpeg": ".jpg", "jpg": ".jpg", "webp": ".webp"}  # by option format
USAGE = "%(prog)s PICTURE [PICTURE ...] --model NAME [FLAG ...] [--OPTION VALUE ...]"
EXAMPLES = """examples:
  %(prog)s owl.jpg --model resnet18 --target 'great grey owl' --method grad_cam --out owl.png
  %(prog)s photos/ --model resnet18 --out explained --csv answers.csv
  %(prog)s data/test --model leaves --wrong-only --sheet wrong.png      # subfolders name the true classes
  %(prog)s --model leaves --method activation_maximization --target rust    # a method that takes no picture

Every option of the server is a flag: --target, --against, --method, --score, --reduce, --render, --space, --colormap,
--top-k, --samples, --steps, --layer and so on. A flag without a value means `true`. The server checks them.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Explain the pictures; return the exit status, 1 if one of them was refused."""
    args, paths, options = read_arguments(arguments)
    try:
        files = picture_files(paths)
        suffix = chosen_suffix(args.out, options)
        with Client(args.url, args.token, key_file=key_file(args), timeout=args.timeout) as client:
            service = Service(client, args.model, args.version, options, args.wrong_only)
            classes = TrueClasses(service.class_of)
            jobs = plan(files, paths, args.out, suffix, [classes.of(file.folders) for file in files])
            if args.wrong_only:
                check_classes(jobs, classes)
            return report(service, jobs, args, classes)
    except (OSError, ValueError, RequestError) as error:
        print(error, file=sys.stderr)
        return 1


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
    if not pictures and shows(options.get("method")) is not Shows.INPUT:
        made.error("name at least one picture")
    return args, pictures, options


def parser() -> argparse.ArgumentParser:
    """Return the parser of the client's own flags."""
    made = argparse.ArgumentParser(
        prog=program("explain"),
        usage=USAGE,
        description=f"{__doc__} A PICTURE is a file, or a folder with subfolders.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("--model", required=True, help="name of the model on the server")
    made.add_argument("--version", help="version of the model (default: the server's default)")
    made.add_argument("--url", default="http://127.0.0.1:8080", help="inference address (default: %(default)s)")
    made.add_argument("--token", help="inference token (default: that of the key file)")
    made.add_argument("--key-file", type=Path, help=f"TorchServe's key file (default: ./{KEY_FILE}, if it exists)")
    made.add_argument(
        "--out",
        type=Path,
        help="file for the map, its kind by its suffix (.png, .jpg, .webp, .npy, .json), or folder for the maps of "
        "several pictures, with the same subfolders (default: this folder)",
    )
    made.add_argument(
        "--json", metavar="FILE", help="also write a line of JSON per picture: path and answer, or error; - prints them"
    )
    made.add_argument("--csv", metavar="FILE", help="also write a table with a line per picture")
    made.add_argument("--sheet", type=Path, metavar="FILE", help="also write one picture with all results in rows")
    made.add_argument(
        "--wrong-only",
        action="store_true",
        help="explain only pictures that are classified wrongly; the subfolder that a picture is in names its class",
    )
    made.add_argument("--timeout", type=float, default=150, help="seconds to wait for an answer (default: %(default)s)")
    made.add_argument("--parallel", type=int, default=4, help="requests sent at once (default: %(default)s)")
    return made


def key_file(args: argparse.Namespace) -> Path | None:
    """Return the key file that is given, or that in this folder, or None; a token takes precedence."""
    if args.token is not None or (args.key_file is None and not Path(KEY_FILE).exists()):
        return None
    return Path(args.key_file or KEY_FILE)


def chosen_suffix(out: Path | None, options: dict[str, str]) -> str:
    """Return the suffix of the files with maps, and leave only formats in the options that hold the predictions, too.

    A picture is asked for as a part of JSON, so that the predictions come with it.
    """
    given = options.get("format", "").strip().lower().rpartition("/")[2].removeprefix("x-")
    suffix = SUFFIXES.get(given, ".png")
    if given in ("json", "png", "jpeg", "jpg", "webp"):
        options.pop("format")
    if out is not None and not out.is_dir() and out.suffix:
        suffix = out.suffix.lower()
    if suffix == ".npy":
        options["format"] = "npy"
    return suffix


def plan(
    files: Sequence[PictureFile],
    paths: Sequence[Path],
    out: Path | None,
    suffix: str,
    classes: Sequence[TrueClass | None],
) -> list[Job]:
    """Return one job per picture, or a job without a picture if there are none."""
    is_single = len(files) <= 1 and not any(path.is_dir() for path in paths)
    if is_single and out is not None and not out.is_dir():
        out_file = out if out.suffix else out.with_suffix(suffix)
        return [Job(files[0].path if files else None, out_file)]
    folder = out or Path()
    if not files:
        return [Job(None, folder / f"explanation.saliency{suffix}")]
    names = unique([file.name for file in files])
    return [
        Job(file.path, folder / f"{name}{suffix}", true_class)
        for file, name, true_class in zip(files, names, classes, strict=True)
    ]


def unique(names: Sequence[str]) -> list[str]:
    """Return the names; a repeated name gets a number."""
    counts: dict[str, int] = {}
    numbered = []
    for name in names:
        counts[name] = counts.get(name, 0) + 1
        numbered.append(name if counts[name] == 1 else f"{name}-{counts[name]}")
    return numbered


def check_classes(jobs: Iterable[Job], classes: TrueClasses) -> None:
    """Raise ValueError if the model has no class that a subfolder names."""
    if not any(job.true_class and job.true_class.index is not None for job in jobs):
        reasons = "; ".join(dict.fromkeys(classes.reasons.values()))
        raise ValueError(
            "--wrong-only needs a folder whose subfolders name the classes of the pictures"
            + (f", and none here does: {reasons}" if reasons else "")
        )


def report(service: Service, jobs: Sequence[Job], args: argparse.Namespace, classes: TrueClasses) -> int:
    """Ask for all explanations, print and write each as it comes; return the exit status."""
    sheet = Sheet() if args.sheet else None
    quiet = "-" in (args.json, args.csv)
    counts: Counter[bool | str | None] = Counter()
    with open_records(args.json, args.csv) as records:
        for result in with_progress(service.results(jobs, args.parallel), len(jobs)):
            failed = isinstance(result.outcome, RequestError)
            counts["failed" if failed else result.right] += 1
            if args.wrong_only and not failed and result.right is not False:
                continue
            records.write(result)
            if sheet:
                sheet.add(result)
            if isinstance(result.outcome, RequestError):
                print_error(result.name, result.outcome)
            elif not quiet:
                (print_full if len(jobs) == 1 else print_short)(result, result.outcome)
    if sheet:
        args.sheet.parent.mkdir(parents=True, exist_ok=True)
        sheet.drawn(f"{args.model}: {service.options.get('method', 'explanations')}").save(args.sheet)
    if not quiet:
        unknown = {job.true_class.label: "" for job in jobs if job.true_class and job.true_class.index is None}
        reasons = {name: classes.reasons.get(name, "") for name in unknown}
        print_summary(counts[True], counts[False], reasons, counts["failed"] if len(jobs) > 1 else 0)
    return int(counts["failed"] > 0)
