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
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.model.classifier import dry_run, frozen
from torchserve_saliency.model.head_search import HeadOptions
from torchserve_saliency.model.heads import Head
from torchserve_saliency_cli.archiving.adaptation import first_convolution
from torchserve_saliency_cli.archiving.arguments import ArchiveArguments, UsageError
from torchserve_saliency_cli.archiving.command_line import read_arguments
from torchserve_saliency_cli.archiving.flags import spelling
from torchserve_saliency_cli.archiving.folder_check import FolderAccuracy, check_accuracy, folder_accuracy
from torchserve_saliency_cli.archiving.handler_check import check_handler
from torchserve_saliency_cli.archiving.packing import add_check, deliver, pack
from torchserve_saliency_cli.archiving.progress import MARK, step
from torchserve_saliency_cli.archiving.sources import Source, find_source
from torchserve_saliency_cli.archiving.summary import summary
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
        if args.handler:
            check_handler(args.handler, args.extra_files)
        step("reading the network and its weights")
        source = find_source(args)
        source, args = with_outputs(source, args)
        figures, accuracy = archive(source, args)
    except UsageError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    except ModelError as error:
        print(f"{name}: refused: {error}", file=sys.stderr)
        return 1
    print("\n".join([summary(source, args, figures), *(accuracy.lines() if accuracy else ())]))
    return 0


def with_outputs(source: Source, args: ArchiveArguments) -> tuple[Source, ArchiveArguments]:
    """Return the source with the labels of its classes, and the arguments with the position of the logits.

    Raise UsageError for labels that are not as many as the classes of an output.
    """
    args = replace(args, activation=args.activation or source.activation)
    options = HeadOptions(args.logits, args.activation, source.labels, args.head_labels)
    try:
        heads = dry_run(frozen(source.network), source.input, options)
    except ModelError as error:
        raise ModelError(f"{error}{_advice(source)}") from error
    for head in heads:
        labels = args.head_labels.get(head.name, source.labels if head is heads.default else None)
        _check_labels(head, labels, args)
    given = {head.name: head.labels.names for head in heads if head.name in args.head_labels}
    named = source.labels is not None or heads.default.outputs == 1
    source = replace(source, labels=heads.default.labels.names if named else None)
    return source, replace(args, logits=heads.default.key, head_labels=given)


def _advice(source: Source) -> str:
    """Return the flags that may help if the network does not run on its input."""
    _, convolution = first_convolution(source.network)
    if convolution is not None and convolution.in_channels != source.input.channels:
        count = convolution.in_channels
        return f"; its first convolution takes {count} channels: give --mean and --std with {count} values each"
    return "; a head found in the weights does not fit: use --model-file" if source.changes else ""


def _check_labels(head: Head, labels: Sequence[str] | None, args: ArchiveArguments) -> None:
    """Raise UsageError for labels that are not as many as the classes of a head; one label names a single output."""
    classes = len(head.labels)
    if labels is None or len(labels) == classes or (len(labels) == head.outputs == 1):
        return
    settable = args.weights == "none" and not (args.num_classes or args.model_file)
    hint = "; --num-classes sets the number of a random network" if settable else ""
    output = "" if head.key is None else f" of output '{head.name}'"
    raise UsageError(f"{len(labels)} labels for {classes} classes{output}{hint}")


def archive(source: Source, args: ArchiveArguments) -> tuple[Mapping[str, object], FolderAccuracy | None]:
    """Write and check the archive; return the figures of the self-check, and the accuracy on --check-folder.

    If a check fails, no archive is left.
    """
    with tempfile.TemporaryDirectory(prefix="archive-") as folder:
        step("writing the archive")
        mar = pack(source, args, Path(folder))
        figures = self_check(mar, Path(folder), args)
        add_check(mar, figures)
        accuracy = None
        if args.check_folder:
            accuracy = folder_accuracy(Explainer.load(mar), args.check_folder)
            check_accuracy(accuracy, args.min_accuracy, args.check_folder)
        deliver(mar, args.mar)
    return figures, accuracy


def self_check(mar: Path, folder: Path, args: ArchiveArguments) -> Mapping[str, object]:
    """Return the figures of the self-check, which runs in a new process on the unpacked archive.

    Raise ModelError if the check refuses the network, UsageError if the reason is a default of the command line.
    """
    unpacked, report = folder / "unpacked", folder / "report.json"
    with zipfile.ZipFile(mar) as packed:
        packed.extractall(unpacked)
    words = [sys.executable, "-c", _RUN_CHECK, str(unpacked), str(report), str(CHECK), str(cli_folder())]
    words += [args.sanity, str(args.sanity_samples or ""), str(args.directions)]
    step("checking the archive in a process of its own")
    status, messages = _run(words, folder)
    if not report.is_file():
        raise ModelError(f"{BROKE_OFF}: {_last_line(status, messages)}")
    figures: dict[str, object] = json.loads(report.read_text(encoding="utf-8"))
    if figures.get("option") in args.defaults:
        raise UsageError(f"{spelling(str(figures['option']))}: {figures['refused']}")
    if "refused" in figures:
        raise ModelError(str(figures["refused"]))
    return figures


def _run(words: Sequence[str], folder: Path) -> tuple[int, list[str]]:
    """Run a process and pass its progress on; return its exit status and its other messages."""
    messages: list[str] = []
    with subprocess.Popen(words, cwd=folder, stderr=subprocess.PIPE, text=True, errors="replace") as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith(MARK):
                step(line.removeprefix(MARK).rstrip())
            elif line.strip():
                messages.append(line.strip())
    return process.returncode, messages


def _last_line(status: int, messages: Sequence[str]) -> str:
    """Return the reason why a process ended without a report."""
    if status == -signal.SIGKILL:
        return "it was killed, as the system does if memory runs out"
    return messages[-1] if messages else f"no message, exit status {status}"
