"""The preprocessing of a network: that of its weights, with the changes of the command line."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torchserve_saliency.images.preprocessing import InputSpec
from torchserve_saliency_cli.archiving.arguments import ArchiveArguments, UsageError
from torchserve_saliency_cli.archiving.flags import Fill

TIMM_CROP_PCT = 0.875  # timm's default share of the resized picture inside the crop
FILL_LEVELS = {"black": 0, "grey": 114, "white": 255}  # 114 is usual for letterboxes


def torchvision_input(weights: Any) -> InputSpec:
    """Return the preprocessing of an entry of torchvision's weights."""
    preset = weights.transforms()
    side = preset.crop_size[0]
    return InputSpec(
        (side, side), tuple(preset.resize_size), preset.interpolation.value, tuple(preset.mean), tuple(preset.std)
    )


def timm_input(config: Mapping[str, Any], args: ArchiveArguments) -> InputSpec:
    """Return the preprocessing of timm's data configuration, the one that `timm.data.create_transform` makes of it.

    Raise UsageError for an unknown kind of crop, if --resize does not replace it.
    """
    _, height, width = config["input_size"]
    crop_pct, mode = config.get("crop_pct") or TIMM_CROP_PCT, config.get("crop_mode") or "center"
    mean, std = tuple(config["mean"]), tuple(config["std"])
    scaled = (math.floor(height / crop_pct), math.floor(width / crop_pct))
    if mode not in ("center", "squash", "border") and args.resize is None:
        raise UsageError(f"timm's crop mode '{mode}' is unknown; --resize replaces it by a resize and a centre crop")
    spec = InputSpec((height, width), scaled, config["interpolation"], mean, std)
    if mode == "border":
        return replace(spec, fit="letterbox", fill=tuple(round(255 * value) for value in mean))
    if mode == "squash":
        return spec
    return replace(spec, resize=scaled[:1]) if scaled[0] == scaled[1] else replace(spec, fit="cover")


def changed_input(spec: InputSpec, args: ArchiveArguments) -> InputSpec:
    """Return `spec` with the values of the command line. If only the size changes, the resize is scaled with it.

    --resize without --letterbox is a resize and a centre crop, and --letterbox scales to the size of the input unless
    --resize is given.
    """
    size = args.input_size or spec.size
    resize = args.resize or (size if args.letterbox else _rescaled(spec, size))
    try:
        changed = replace(
            spec,
            size=size,
            resize=resize,
            interpolation=args.interpolation or spec.interpolation,
            mean=args.mean or spec.mean,
            std=args.std or spec.std,
            white=args.white or spec.white,
            fit="letterbox" if args.letterbox else "shorter" if args.resize else spec.fit,
            fill=() if args.letterbox or args.resize else spec.fill,
        )
        return replace(changed, fill=_levels(args.letterbox, changed)) if args.letterbox else changed
    except ValueError as error:
        raise UsageError(str(error)) from error


def _levels(fill: Fill, spec: InputSpec) -> tuple[int, ...]:
    """Return the levels of a padding that is named or given; raise ValueError if the mean is no level."""
    if fill == "mean":
        return tuple(round(255 * value) for value in spec.mean)
    return (FILL_LEVELS[fill],) if isinstance(fill, str) else fill


def _rescaled(spec: InputSpec, size: tuple[int, int]) -> tuple[int, ...]:
    """Return the resize for `size`, in the ratio of `spec.resize` to `spec.size`."""
    if size == spec.size:
        return spec.resize
    if len(spec.resize) == 2:
        return tuple(round(r * new / old) for r, new, old in zip(spec.resize, size, spec.size, strict=True))
    return (round(spec.resize[0] * max(size) / max(spec.size)),)
