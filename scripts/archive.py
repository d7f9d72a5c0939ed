"""Write an archive (.mar) that TorchServe predicts and explains with, and check that very archive.

    python scripts/archive.py --model-name resnet18 --arch resnet18 --weights DEFAULT
    python scripts/archive.py --model-name x --arch timm:convnext_tiny --weights none
    python scripts/archive.py --model-name mine --model-file net.py --serialized-file net.pt --labels labels.txt
    python scripts/archive.py --model-name mine --serialized-file scripted.pt --labels labels.txt

Exit status: 0 archived, 1 refused (a network that cannot be loaded or explained), 2 something typed is wrong.
"""

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

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "handlers")]

from saliency.errors import ModelError
from saliency.model import dry_run, frozen
from saliency.sanity import marked
from scripts.archiving.arguments import UsageError, Wanted, read_arguments
from scripts.archiving.sources import Source, find_source
from scripts.archiving.staging import add_check, deliver, pack

CHECK = ROOT / "scripts" / "archiving" / "check.py"
BROKE_OFF = "the self-check broke off"  # which tells nothing of the network
# the archive's folder comes before everything else that could be imported, `scripts` after it
_RUN_CHECK = (
    "import runpy, sys; sys.path[:1] = [sys.argv[1], sys.argv.pop(4)]; "
    "runpy.run_path(sys.argv.pop(3), run_name='__main__')"
)


def main(words: Sequence[str] | None = None) -> int:
    """Archive what the command line asks for; return the exit status."""
    try:
        wanted = read_arguments(words)
        source = find_source(wanted)
        wanted = settled(source, wanted)
        figures = archive(source, wanted)
    except UsageError as error:
        print(f"archive.py: {error}", file=sys.stderr)
        return 2
    except ModelError as error:
        print(f"archive.py: refused: {error}", file=sys.stderr)
        return 1
    print(summary(source, wanted, figures))
    return 0


def archive(source: Source, wanted: Wanted) -> Mapping[str, object]:
    """Write and check the archive, and return the self-check's figures; nothing is left of one that fails."""
    with tempfile.TemporaryDirectory(prefix="archive-") as folder:
        mar = pack(source, wanted, Path(folder))
        figures = self_check(mar, Path(folder), wanted)
        add_check(mar, figures)
        deliver(mar, wanted.mar)
    return figures


def self_check(mar: Path, folder: Path, wanted: Wanted) -> Mapping[str, object]:
    """Return the figures of a fresh process that unpacked the archive; ModelError or UsageError where it refuses."""
    unpacked, report = folder / "unpacked", folder / "report.json"
    with zipfile.ZipFile(mar) as packed:
        packed.extractall(unpacked)
    words = [sys.executable, "-c", _RUN_CHECK, str(unpacked), str(report), str(CHECK), str(ROOT)]
    words += [wanted.sanity, str(wanted.sanity_samples or ""), str(wanted.directions)]
    ran = subprocess.run(words, cwd=folder, stderr=subprocess.PIPE, text=True, check=False)
    if not report.is_file():
        raise ModelError(f"{BROKE_OFF}: {_last_words(ran)}")
    said: dict[str, object] = json.loads(report.read_text(encoding="utf-8"))
    if said.get("option") in wanted.defaults:
        raise UsageError(f"--{str(said['option']).replace('_', '-')}: {said['refused']}")
    if "refused" in said:
        raise ModelError(str(said["refused"]))
    return said


def _last_words(ran: subprocess.CompletedProcess[str]) -> str:
    """Return why a process ended that was to leave a report."""
    if ran.returncode == -signal.SIGKILL:
        return "it was killed; the system does so where memory runs out"
    return (ran.stderr.strip().splitlines() or [f"without a word, by exit status {ran.returncode}"])[-1]


def summary(source: Source, wanted: Wanted, figures: Mapping[str, object]) -> str:
    """Return what a person wants to know of the archive, in a few lines."""
    height, width = source.input.size
    no_layer = "TorchScript does not show its layers" if wanted.scripted else "no layer keeps a spatial grid"
    known = "" if source.labels else ", unnamed: --labels names them"
    error = float(str(figures["largest_relative_error"]))
    note = "\n  beware      the output sums to 1: it seems to be probabilities, where logits are meant"
    return "\n".join(
        [
            f"{wanted.mar}  {wanted.mar.stat().st_size / 1e6:.1f} MB",
            f"  network     {source.arch or wanted.model_file or 'TorchScript'}, weights {wanted.weights}",
            f"  input       {height} x {width}, resize {source.input.resize}, {source.input.interpolation}",
            f"  classes     {figures['classes']}{known}{_place(wanted)}",
            f"  CAM layer   {figures['default_layer'] or f'none: {no_layer}'}",
            *_speed(wanted, figures),
            f"  self-check  gradient = slope to {error:.1e} along {figures['directions']} directions",
            f"  sanity      {_sane(figures['sanity'])}",
        ]
    ) + (note if figures["sums_to_one"] else "")


def _speed(wanted: Wanted, figures: Mapping[str, object]) -> list[str]:
    """Return a line for each of the archive's options of speed, if it has them: what came of it here."""
    lines = []
    if wanted.compile:
        took = "one picture is as right and as fast" if figures["compiled"] else "here it is no better, and not used"
        lines.append(f"  compiled    {wanted.compile}, when it is loaded: {took}")
    if wanted.precision != "fp32":
        lines.append(f"  precision   {_costs(wanted.precision, figures['precision'])}")
    return lines


def _costs(wanted: str, found: object) -> str:
    """Return what a reduced precision costs."""
    assert isinstance(found, dict)
    if found["precision"] != wanted:
        return f"{wanted} does not work here: fp32"
    logits, gradient = found["logits_error"], found["gradient_error"]
    return f"{wanted}: beside fp32 its logits are off by {logits:.1e} in relative norm, its gradient by {gradient:.1e}"


def _sane(found: object) -> str:
    """Return what the sanity tests found of all methods."""
    if not isinstance(found, dict):
        return "not tested (--sanity off)"
    if alike := marked(found):
        named = ", ".join(f"{name} ({value:.2f})" for name, value in alike.items())
        return f"hardly changed by random weights in the upper layers (rank correlation): {named}"
    hearing = [name for name, said in found["methods"].items() if said["depends_on_weights"]]
    return f"these methods' maps depend on the weights: {', '.join(hearing) or 'none of which it could be told'}"


def _place(wanted: Wanted) -> str:
    """Return where the logits stand in the network's output, if it has several parts."""
    return "" if wanted.logits is None else f", logits in output {wanted.logits!r} (--logits chooses)"


def settled(source: Source, wanted: Wanted) -> Wanted:
    """Return what is wanted, the place of the logits found; UsageError where labels and classes differ in number."""
    labels = None if source.labels is None else len(source.labels)
    logits, classes = dry_run(frozen(source.network), source.input, wanted.logits, labels)
    if source.labels is not None and len(source.labels) != classes:
        hint = "" if wanted.num_classes or wanted.model_file else "; --num-classes sets how many a random network has"
        raise UsageError(f"{len(source.labels)} labels for {classes} classes{hint if wanted.weights == 'none' else ''}")
    return replace(wanted, logits=logits)


if __name__ == "__main__":
    sys.exit(main())
