"""The description of an archive that the command prints."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import cast

from torchserve_saliency.images.pixel_modes import WHITE
from torchserve_saliency.images.preprocessing import InputSpec
from torchserve_saliency.map_notes import FINE_GRID
from torchserve_saliency.model.blocked_gradients import Gradients
from torchserve_saliency.quality.sanity import failed_methods
from torchserve_saliency_cli.archiving.arguments import ArchiveArguments
from torchserve_saliency_cli.archiving.building import Source
from torchserve_saliency_cli.archiving.imports import missing_imports
from torchserve_saliency_cli.archiving.weights_summary import change_text, weights_lines


def summary(source: Source, args: ArchiveArguments, figures: Mapping[str, object]) -> str:
    """Return a description of the archive and of the result of its check."""
    unnamed = "" if source.labels or args.head_labels else ", unnamed: --labels names them"
    position = "" if args.logits is None else f", logits in output {args.logits!r} (--logits chooses)"
    return "\n".join(
        [
            f"{args.mar}  {args.mar.stat().st_size / 1e6:.1f} MB",
            f"  network     {_network(source, args)}, weights {args.weights}",
            *_arguments(source),
            *_written_out(source),
            *weights_lines(source.match),
            *(f"  changed     {path}: {change_text(change)}" for path, change in source.changes.items()),
            *_input(source.input),
            f"  classes     {figures['classes']}{unnamed}{position}",
            f"  activation  {figures['activation']}",
            *_heads(figures["heads"]),
            f"  CAM layer   {_layer(args, figures)}",
            *_acceleration(args, figures),
            *_self_check(figures),
            f"  sanity      {_sanity(figures['sanity'])}",
            *_packages(args),
            *(f"  note        {remark}" for remark in cast(Sequence[str], figures["remarks"])),
        ]
    )


def _self_check(figures: Mapping[str, object]) -> list[str]:
    """Return the lines on the self-check, and on gradients that the network blocks."""
    if figures["gradients"] == Gradients.NONE.value:
        return [
            "  gradients   none: the network computes without autograd (by numpy, for example), or its backward pass",
            "              fails. Only methods without gradients can explain it, and a request must name one;",
            "              --method occlusion makes that one the default",
            f"  self-check  the picture was explained by {figures['method']}",
        ]
    error = float(str(figures["largest_relative_error"]))
    lines = [f"  self-check  gradient = slope to {error:.1e} along {figures['directions']} directions"]
    if figures["gradients"] == Gradients.RESTORED.value:
        lines.insert(0, "  gradients   restored: no_grad, inference_mode and detach in the network have no effect")
    return lines


def _network(source: Source, args: ArchiveArguments) -> str:
    """Return the name of the network: an architecture, a class of a file, or TorchScript."""
    if args.model_file:
        return f"{args.model_file}, {source.class_}"
    return source.origin or source.arch or "TorchScript"


def _arguments(source: Source) -> list[str]:
    """Return the line on the arguments that the network was made with; none if there are none."""
    pairs = ", ".join(f"{name} {json.dumps(value, default=str)}" for name, value in (source.arguments or {}).items())
    return [f"  arguments   {pairs} (--arguments)"] if pairs else []


def _written_out(source: Source) -> list[str]:
    """Return the lines on a network that was written out; none for any other."""
    if source.code is None:
        return []
    return ["  server      needs torch alone: the network is written out as plain PyTorch, network.py in the archive"]


def _input(spec: InputSpec) -> list[str]:
    """Return the lines on the whole preprocessing."""
    height, width = spec.size
    if spec.fit == "none":
        resize = "none"
    elif len(spec.resize) == 1:
        resize = f"shorter side to {spec.resize[0]}"
    else:
        resize = f"to {spec.resize[0]} x {spec.resize[1]}" + ("" if spec.fit == "shorter" else f" ({spec.fit})")
    channels = {1: "1 channel (grey)", 3: f"3 channels ({spec.channel_order.upper()})"}.get(
        spec.channels, f"{spec.channels} channels"
    )
    mean, std = (" ".join(f"{value:.6g}" for value in values) for values in (spec.mean, spec.std))
    white = "" if spec.white == WHITE else f", white {spec.white}"
    return [
        f"  input       {height} x {width}, {channels}: resize {resize}, {spec.interpolation}, then centre crop",
        f"  normalised  mean {mean}, std {std}{white}",
    ]


def _layer(args: ArchiveArguments, figures: Mapping[str, object]) -> str:
    """Return the default layer of class activation maps and its grid, and a layer with a finer grid if it is coarse."""
    layer, grids = figures["default_layer"], cast(Mapping[str, Sequence[int]], figures.get("layer_grids") or {})
    if not layer:
        return f"none: {'the layers of TorchScript are hidden' if args.scripted else 'no layer has a spatial grid'}"
    size = {name: f"{grid[0]} x {grid[1]}" for name, grid in grids.items()}
    text = f"{layer}, grid {size[str(layer)]}" if layer in size else str(layer)
    finer = figures.get("finer_layer")
    if layer in grids and min(grids[str(layer)]) < FINE_GRID:
        text += (
            f": coarse; {finer} has {size[str(finer)]} (--layer {finer})" if finer else ": coarse, and none is finer"
        )
    return text


def _heads(heads: object) -> list[str]:
    """Return one line for each output, if there are several."""
    assert isinstance(heads, list)
    return [
        f"  head        {each['name']}: {each['labels']} classes, {each['activation']}" for each in heads[1:] and heads
    ]


def _packages(args: ArchiveArguments) -> list[str]:
    """Return the lines on packages that the server needs beside those of TorchServe's image."""
    lines = []
    if args.requirements_file:
        lines.append(
            f"  packages    those of {args.requirements_file.name} are installed only if config.properties has "
            "install_py_dep_per_model=true"
        )
    if missing := missing_imports(args):
        names = ", ".join(f"{each.package} ({each.file}, line {each.line})" for each in missing)
        lines += [
            f"  not held    {names}: neither the archive nor the image pytorch/torchserve has it;",
            "              without it on the server, the worker does not start: --requirements-file names packages",
        ]
    return lines


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
