"""The preprocessing of an image processor of Hugging Face's `transformers`, equal to the last bit."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from torchserve_saliency.images.input_spec import RESCALE
from torchserve_saliency.images.preprocessing import InputSpec
from torchserve_saliency_cli.archiving.arguments import ArchiveArguments, UsageError
from torchserve_saliency_cli.archiving.huggingface_processors import (
    REMEDY,
    Processor,
    Sides,
    UnsupportedProcessorError,
    find_processor,
    is_timm_wrapper,
)
from torchserve_saliency_cli.archiving.preprocessing import timm_input


def huggingface_input(processor: Any, args: ArchiveArguments) -> InputSpec:
    """Return the preprocessing that `transformers.pipeline("image-classification")` does with an image processor.

    The options are the attributes of the instance, so that they include the defaults of its class. Raise UsageError if
    the class or an option cannot be reproduced and the command line does not replace it. The other changes of the
    command line are left to `changed_input`.
    """
    try:
        if is_timm_wrapper(processor):
            return replace(timm_input(processor.data_config, args), alpha="drop")
        return _input(find_processor(processor), args)
    except UnsupportedProcessorError:
        if not (args.input_size and args.mean and args.std):
            raise
        return InputSpec(args.input_size, (max(args.input_size),))
    except ValueError as error:
        raise UsageError(f"the image processor {type(processor).__name__}: {error}; {REMEDY}") from error


def _input(processor: Processor, args: ArchiveArguments) -> InputSpec:
    resize, size = _geometry(processor, args)
    return InputSpec(
        size=size,
        resize=resize or size,
        fit="shorter" if resize else "none",
        interpolation=args.interpolation or _interpolation(processor),
        resizer=processor.backend.resizer,
        crop_rounding=processor.backend.crop_rounding,
        channel_order="bgr" if processor.is_on("do_flip_channel_order") else "rgb",
        alpha="key" if processor.option("do_convert_rgb") else "drop",
        **_levels(processor, args),
    )


def _geometry(processor: Processor, args: ArchiveArguments) -> tuple[Sides | None, tuple[int, int]]:
    """Return the resize, None if there is none, and the size of the input."""
    resize, resized = _resize(processor, args) if processor.is_on("do_resize") else (None, None)
    cropped = _cropped(processor, resize, resized, args) if processor.is_on("do_center_crop") else resized
    size = cropped or args.input_size
    if size is None:
        reason = "leaves pictures of different sizes, because they are not cropped; --input-size crops them"
        raise processor.error("size" if resize else "do_resize", reason)
    padded = processor.is_on("do_pad") and processor.option("pad_size") is not None and args.input_size is None
    if padded and processor.sides("pad_size") != size:
        raise processor.error("pad_size", "pads the input on two sides only; --input-size replaces it")
    return resize, (size[0], size[-1])


def _resize(processor: Processor, args: ArchiveArguments) -> tuple[Sides, Sides | None]:
    """Return the resize, and the size of its result if all pictures have the same."""
    try:
        return processor.family.resize(processor, processor.sides("size"))
    except UsageError:
        if args.resize is None:
            raise
        return args.resize, None


def _cropped(processor: Processor, resize: Sides | None, resized: Sides | None, args: ArchiveArguments) -> Sides | None:
    """Return the size of the centre crop, or None if it cannot be reproduced but --input-size replaces it."""
    try:
        size = processor.sides("crop_size")
        if len(size) == 1:
            raise processor.error("crop_size", "has no height and width; --input-size replaces it")
        if resized is not None and resize != resized and size != resized:
            raise processor.error("crop_size", f"crops a crop of {resized} again; --input-size replaces it")
    except UsageError:
        if args.input_size is None:
            raise
        return None
    return size


def _interpolation(processor: Processor) -> str:
    known, resample = processor.backend.interpolations, processor.option("resample")
    for number, name in known.items():
        if resample == number:
            return name
    if not processor.is_on("do_resize"):
        return "bilinear"
    names = ", ".join(f"{number} ({name})" for number, name in known.items())
    raise processor.error("resample", f"is none of {names}; --interpolation replaces it")


def _levels(processor: Processor, args: ArchiveArguments) -> dict[str, Any]:
    """Return the fields of the normalisation. --mean and --std replace it; one of them alone changes it."""
    if args.mean and args.std:
        return {"mean": args.mean, "std": args.std, "normalisation": processor.backend.usual}
    rescales, normalises = processor.is_on("do_rescale"), processor.is_on("do_normalize")
    offset = 1.0 if rescales and processor.is_on("rescale_offset") else 0.0
    only_rescaled = rescales and (offset > 0 or not normalises)  # before the mean is subtracted in a step of its own
    if only_rescaled and _overflows(processor.option("rescale_factor"), offset):
        raise processor.error(
            "rescale_factor", "is whole, so that levels of 8 bits overflow; --mean and --std replace it"
        )
    fields = {
        "mean": processor.per_channel("image_mean") if normalises else (0.0,) * 3,
        "std": processor.per_channel("image_std") if normalises else (1.0,) * 3,
        "rescale": processor.number("rescale_factor") if rescales else 1.0,
        "offset": offset,
        "extra_std": processor.per_channel("image_std") if processor.is_on("include_top") else (),
        "normalisation": processor.backend.only_rescaled if only_rescaled else processor.backend.usual,
    }
    if (args.mean or args.std) and not _is_for_unit_pixels(fields):
        reason = "is not for pixels in 0-1, as --mean and --std are; give both of them"
        raise processor.error("rescale_factor" if rescales else "do_rescale", reason)
    return fields


def _is_for_unit_pixels(fields: dict[str, Any]) -> bool:
    """Tell if the mean and the std are those of pixels in 0-1 (files state 1 / 255 with few digits, too)."""
    return math.isclose(fields["rescale"], RESCALE, rel_tol=0.01) and not fields["offset"] and not fields["extra_std"]


def _overflows(factor: object, offset: float) -> bool:
    """Tell if the levels stay integers of 8 bits, and do not have room for the result."""
    return isinstance(factor, int) and (factor != 1 or offset > 0)
