"""What a network wants to be shown: by its weights, and by what the command line changes of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from saliency.image import InputSpec
from scripts.archiving.arguments import UsageError, Wanted


def torchvision_input(weights: Any) -> InputSpec:
    """Return the preprocessing that a torchvision weights entry comes with."""
    preset = weights.transforms()
    side = preset.crop_size[0]
    return InputSpec(
        (side, side), tuple(preset.resize_size), preset.interpolation.value, tuple(preset.mean), tuple(preset.std)
    )


def timm_input(config: Mapping[str, Any], wanted: Wanted) -> InputSpec:
    """Return the preprocessing of timm's data configuration; UsageError where it is more than a resize and a crop."""
    _, height, width = config["input_size"]
    scaled = tuple(math.floor(side / config["crop_pct"]) for side in (height, width))
    squashed = config["crop_mode"] == "squash"
    plain = squashed or (config["crop_mode"] == "center" and height == width)
    if not plain and wanted.resize is None:
        raise UsageError(
            f"timm's preprocessing of this network ({config['crop_mode']} crop to {height} x {width}) is no resize "
            "and centre crop; --resize sets one in its place"
        )
    resize = scaled if squashed else scaled[:1]
    return InputSpec((height, width), resize, config["interpolation"], tuple(config["mean"]), tuple(config["std"]))


def changed_input(spec: InputSpec, wanted: Wanted) -> InputSpec:
    """Return `spec` with what the command line sets; another size alone keeps the ratio of resize to crop."""
    size = wanted.size or spec.size
    mean = wanted.mean or spec.mean
    try:
        return replace(
            spec,
            size=size,
            resize=wanted.resize or _rescaled(spec, size),
            interpolation=wanted.interpolation or spec.interpolation,
            mean=mean,
            std=wanted.std or spec.std,
        )
    except ValueError as error:
        raise UsageError(str(error)) from error


def _rescaled(spec: InputSpec, size: tuple[int, int]) -> tuple[int, ...]:
    """Return the resize that goes with `size` as `spec.resize` goes with `spec.size`."""
    if size == spec.size:
        return spec.resize
    if len(spec.resize) == 2:
        return tuple(round(r * new / old) for r, new, old in zip(spec.resize, size, spec.size, strict=True))
    return (round(spec.resize[0] * max(size) / max(spec.size)),)
