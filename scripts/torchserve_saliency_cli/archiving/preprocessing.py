"""The preprocessing of a network: that of its weights, with the changes of the command line."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torchserve_saliency.images.preprocessing import InputSpec
from torchserve_saliency_cli.archiving.arguments import ArchiveArguments, UsageError


def torchvision_input(weights: Any) -> InputSpec:
    """Return the preprocessing of an entry of torchvision's weights."""
    preset = weights.transforms()
    side = preset.crop_size[0]
    return InputSpec(
        (side, side), tuple(preset.resize_size), preset.interpolation.value, tuple(preset.mean), tuple(preset.std)
    )


def timm_input(config: Mapping[str, Any], args: ArchiveArguments) -> InputSpec:
    """Return the preprocessing of timm's data configuration.

    Raise UsageError if it is not a resize and a centre crop, and --resize does not replace it.
    """
    _, height, width = config["input_size"]
    scaled = tuple(math.floor(side / config["crop_pct"]) for side in (height, width))
    squash = config["crop_mode"] == "squash"
    plain = squash or (config["crop_mode"] == "center" and height == width)
    if not plain and args.resize is None:
        raise UsageError(
            f"timm's preprocessing of this network ({config['crop_mode']} crop to {height} x {width}) is no resize "
            "and centre crop; --resize replaces it by one"
        )
    resize = scaled if squash else scaled[:1]
    return InputSpec((height, width), resize, config["interpolation"], tuple(config["mean"]), tuple(config["std"]))


def changed_input(spec: InputSpec, args: ArchiveArguments) -> InputSpec:
    """Return `spec` with the values of the command line. If only the size changes, the resize is scaled with it."""
    size = args.input_size or spec.size
    try:
        return replace(
            spec,
            size=size,
            resize=args.resize or _rescaled(spec, size),
            interpolation=args.interpolation or spec.interpolation,
            mean=args.mean or spec.mean,
            std=args.std or spec.std,
        )
    except ValueError as error:
        raise UsageError(str(error)) from error


def _rescaled(spec: InputSpec, size: tuple[int, int]) -> tuple[int, ...]:
    """Return the resize for `size`, in the ratio of `spec.resize` to `spec.size`."""
    if size == spec.size:
        return spec.resize
    if len(spec.resize) == 2:
        return tuple(round(r * new / old) for r, new, old in zip(spec.resize, size, spec.size, strict=True))
    return (round(spec.resize[0] * max(size) / max(spec.size)),)
