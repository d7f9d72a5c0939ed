"""Write an archive (.mar) that TorchServe predicts and explains with, and check it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from torchserve_saliency.errors import ModelError
from torchserve_saliency.model.classifier import dry_run, frozen
from torchserve_saliency.quality.sanity import failed_methods
from torchserve_saliency_cli.archiving.arguments import ArchiveArguments, UsageError
from torchserve_saliency_cli.archiving.command_line import read_arguments
from torchserve_saliency_cli.archiving.flags import spelling
from torchserve_saliency_cli.archiving.packing import add_check, deliver, pack
from torchserve_saliency_cli.archiving.sources import Source, find_source
from torchserve_saliency_cli.files import cli_folder
from torchserve_saliency_cli.program import program

CHECK = Path(__file__).parent / "archiving" / "self_check.py"
BROKE_OFF = "the self-check broke off"  # a failure of the check itself, not of the network
# the archive's folder precedes everything else on sys.path, and is followed by the folder of this package
_RUN_CHECK = (
    "import runpy, sys; sys.path[:1] = [sys.argv[1], sys.argv.pop(4)]; "
    "runpy.run_path(sys.argv.pop(3), run_name='__main__')"
)


def main(words: Sequence[str] | None = None) -> int:
    """Archive the network of the command line; return the exit status."""
    name = program("archive")
    try:
        args = read_arguments(words)
        source = find_source(args)
        args = with_logits(source, args)
        figures = archive(source, args)
    except UsageError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    except ModelError as error:
        print(f"{name}: refused: {error}", file=sys.stderr)
        return 1
    print(summary(source, args, figures))
    return 0


def with_logits(source: Source, args: ArchiveArguments) -> ArchiveArguments:
    """Return the arguments with the position of the logits in the output.

    Raise UsageError for labels that are not as many as the classes.
    """
    labels = None if source.labels is None else len(source.labels)
    logits, classes = dry_run(frozen(source.network), source.input, args.logits, labels)
    if labels is not None and labels != classes:
        settable = args.weights == "none" and not (args.num_classes or args.model_file)
        hint = "; --num-classes sets the number of a random network" if settable else ""
        raise UsageError(f"{labels} labels for {classes} classes{hint}")
    return replace(args, logits=logits)


def archive(source: Source, args: ArchiveArguments) -> Mapping[str, object]:
    """Write and check the archive; return the figures of the self-check. If the check fails, no archive is left."""
    with tempfile.TemporaryDirectory(prefix="archive-") as folder:
        mar = pack(source, args, Path(folder))
        figures = self_check(mar, Path(folder), args)
        add_check(mar, figures)
        deliver(mar, args.mar)
    return figures


def self_check(mar: Path, folder: Path, args: ArchiveArguments) -> Mapping[str, object]:
    """Return the figures of the self-check, which runs in a new process on the unpacked archive.

    Raise ModelError if the check refuses the network, UsageError if the reason is a default of the command line.
    """
    unpacked, report = folder / "unpacked", folder / "report.json"
    with zipfile.ZipFile(mar) as packed:
        packed.extractall(unpacked)
    words = [sys.executable, "-c", _RUN_CHECK, str(unpacked), str(report), str(CHECK), str(cli_folder())]
    words += [args.sanity, str(args.sanity_samples or ""), str(args.directions)]
    done = subprocess.run(words, cwd=folder, stderr=subprocess.PIPE, text=True, check=False)
    if not report.is_file():
        raise ModelError(f"{BROKE_OFF}: {_last_line(done)}")
    figures: dict[str, object] = json.loads(report.read_text(encoding="utf-8"))
    if figures.get("option") in args.defaults:
        raise UsageError(f"{spelling(str(figures['option']))}: {figures['refused']}")
    if "refused" in figures:
        raise ModelError(str(figures["refused"]))
    return figures


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    """Return the reason why a process ended without a report."""
    if done.returncode == -signal.SIGKILL:
        return "it was killed, as the system does if memory runs out"
    return (done.stderr.strip().splitlines() or [f"no message, exit status {done.returncode}"])[-1]


def summary(source: Source, args: ArchiveArguments, figures: Mapping[str, object]) -> str:
    """Return a description of the archive and of the result of its check."""
    height, width = source.input.size
    no_layer = "the layers of TorchScript are hidden" if args.scripted else "no layer has a spatial grid"
    unnamed = "" if source.labels else ", unnamed: --labels names them"
    position = "" if args.logits is None else f", logits in output {args.logits!r} (--logits chooses)"
    error = float(str(figures["largest_relative_error"]))
    warning = "\n  warning     the output sums to 1: it seems to be probabilities, but should be logits"
    return "\n".join(
        [
            f"{args.mar}  {args.mar.stat().st_size / 1e6:.1f} MB",
            f"  network     {source.arch or args.model_file or 'TorchScript'}, weights {args.weights}",
            f"  input       {height} x {width}, resize {source.input.resize}, {source.input.interpolation}",
            f"  classes     {figures['classes']}{unnamed}{position}",
            f"  CAM layer   {figures['default_layer'] or f'none: {no_layer}'}",
            *_acceleration(args, figures),
            f"  self-check  gradient = slope to {error:.1e} along {figures['directions']} directions",
            f"  sanity      {_sanity(figures['sanity'])}",
        ]
    ) + (warning if figures["sums_to_one"] else "")


def _acceleration(args: ArchiveArguments, figures: Mapping[str, object]) -> list[str]:
    """Return one line each for the archive's compilation and its reduced precision."""
    lines = []
    if args.compile:
        result = "one picture is as right and as fast" if figures["compiled"] else "here it is no better, and not used"
        lines.append(f"  compiled    {args.compile}, when it is loaded: {result}")
    if args.precision != "fp32":
        lines.append(f"  precision   {_precision(args.precision, figures['precision'])}")
    return lines


def _precision(name: str, measured: object) -> str:
    """Return the error of a reduced precision."""
    assert isinstance(measured, dict)
    if measured["precision"] != name:
        return f"{name} does not work here: fp32"
    logits, gradient = measured["logits_error"], measured["gradient_error"]
    return f"{name}: relative to fp32, the error in norm of its logits is {logits:.1e}, of its gradient {gradient:.1e}"


def _sanity(figures: object) -> str:
    """Return the result of the sanity tests of all methods."""
    if not isinstance(figures, dict):
        return "not tested (--sanity off)"
    if similar := failed_methods(figures):
        names = ", ".join(f"{name} ({value:.2f})" for name, value in similar.items())
        return f"hardly changed by random weights in the upper layers (rank correlation): {names}"
    dependent = [name for name, each in figures["methods"].items() if each["depends_on_weights"]]
    return f"these methods' maps depend on the weights: {', '.join(dependent) or 'not measurable for any'}"
