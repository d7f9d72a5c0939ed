"""The families of image processors in `transformers`: the options that each one obeys, and its rule for the resize."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torchserve_saliency_cli.archiving.arguments import UsageError

Sides = tuple[int, ...]
SMALLEST_SQUASHED = 384  # ConvNext processors crop only below this side
LEVIT_SCALE = 256 / 224
HARMLESS_METHODS = {"__init__", "to_dict", "from_dict", "get_image_processor_dict"}
REMEDY = "--input-size, --mean and --std (and --resize, --interpolation) state the preprocessing in its place"
TIMM_WRAPPER = "TimmWrapperImageProcessor"


class UnsupportedProcessorError(UsageError):
    """The code of an image processor is not known."""


@dataclass(frozen=True)
class Backend:
    """The arithmetic of a backend, in the terms of `InputSpec`.

    `only_rescaled` is the normalisation if levels are rescaled in a step of its own, and `usual` in all other cases.
    `interpolations` has the numbers of Pillow that the backend can compute.
    """

    resizer: str
    crop_rounding: str
    usual: str
    only_rescaled: str
    interpolations: Mapping[int, str]


@dataclass(frozen=True)
class Family:
    """Processors with the same code.

    `resize` returns the resize of a processor with a given `size`, and the size of the result if all pictures have the
    same. `obeys` has the switches that are not ignored.
    """

    resize: Callable[[Processor, Sides], tuple[Sides, Sides | None]]
    obeys: frozenset[str]


@dataclass(frozen=True)
class Processor:
    """An image processor of `transformers`."""

    instance: object
    family: Family
    backend: Backend

    def option(self, name: str) -> Any:
        """Return the value of an option, or None if the processor does not have it."""
        return getattr(self.instance, name, None)

    def is_on(self, switch: str) -> bool:
        """Tell if a switch is on and the processor obeys it."""
        return switch in self.family.obeys and bool(self.option(switch))

    def number(self, name: str) -> float:
        """Return an option that is a number above 0; raise UsageError if it is not."""
        value = self.option(name)
        if not _is_number(value) or value <= 0:
            raise self.error(name, f"is no number above 0; {REMEDY}")
        return float(value)

    def per_channel(self, name: str) -> tuple[float, ...]:
        """Return an option that has one number per channel, or one for all; raise UsageError if it has not."""
        value = self.option(name)
        values = (value,) if _is_number(value) else value
        if not isinstance(values, list | tuple) or len(values) not in (1, 3) or not all(map(_is_number, values)):
            raise self.error(name, "has not one number per channel; --mean and --std replace it")
        return tuple(float(number) for number in values) * (3 // len(values))

    def sides(self, name: str) -> Sides:
        """Return (height, width) or (shorter side,) of an option; raise UsageError if it is of another kind."""
        try:
            named = dict(self.option(name))
        except (TypeError, ValueError):
            named = {}
        keys = ("height", "width") if len(named) == 2 else ("shortest_edge",)
        if named.keys() != set(keys) or not all(isinstance(side, int) and side > 0 for side in named.values()):
            reason = "is neither a height and a width nor a shortest_edge alone, so that it cannot be reproduced"
            raise self.error(name, f"{reason}; --resize and --input-size replace it")
        return tuple(named[key] for key in keys)

    def error(self, option: str, reason: str) -> UsageError:
        """Return the error for an option of this processor."""
        value = self.option(option)
        shown = dict(value) if type(value).__name__ == "SizeDict" else value
        return UsageError(f"{option} {shown} of the image processor {type(self.instance).__name__} {reason}")


def is_timm_wrapper(instance: object) -> bool:
    """Tell if a processor is the one of transformers that preprocesses as timm does."""
    return type(instance).__name__ == TIMM_WRAPPER and _is_original(type(instance))


def find_processor(instance: object) -> Processor:
    """Return the processor with its family and backend.

    A class that replaces no method of its base has the family of its base. Raise UnsupportedProcessorError for others.
    """
    kinds = [kind for kind in type(instance).__mro__ if _is_original(kind)]
    base = next((kind for kind in kinds if kind.__name__ in BACKENDS), None)
    if base is None:
        raise _unsupported(instance, f"it has none of the backends of transformers 5, {' and '.join(BACKENDS)}")
    known = next(kind for kind in kinds if _family_name(kind) in FAMILIES)
    own = type(instance).__mro__[: type(instance).__mro__.index(known)]
    changed = {name for kind in own for name in vars(kind) if _is_method(getattr(base, name, None))} - HARMLESS_METHODS
    if changed:
        raise _unsupported(instance, f"its own {', '.join(sorted(changed))} cannot be reproduced")
    return Processor(instance, FAMILIES[_family_name(known)], BACKENDS[base.__name__])


def _unsupported(instance: object, reason: str) -> UnsupportedProcessorError:
    return UnsupportedProcessorError(
        f"the image processor {type(instance).__name__} is not supported: {reason}; {REMEDY}"
    )


def _family_name(kind: type) -> str:
    return kind.__name__.removesuffix("Pil").removesuffix("Fast")


def _is_original(kind: type) -> bool:
    """Tell if a class is part of transformers, and not of the code in a model's folder."""
    return kind.__module__.startswith("transformers.")


def _is_method(attribute: object) -> bool:
    return callable(attribute) and not isinstance(attribute, type)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _plain(_: Processor, size: Sides) -> tuple[Sides, Sides | None]:
    return size, size if len(size) == 2 else None


def _convnext(processor: Processor, size: Sides) -> tuple[Sides, Sides | None]:
    if len(size) == 2:
        raise processor.error("size", "has no shortest_edge, which it needs; --resize and --input-size replace it")
    square = size * 2
    if size[0] >= SMALLEST_SQUASHED:
        return square, square
    return (int(size[0] / processor.number("crop_pct")),), square


def _levit(processor: Processor, size: Sides) -> tuple[Sides, Sides | None]:
    return _plain(processor, size if len(size) == 2 else (int(LEVIT_SCALE * size[0]),))


def _poolformer(processor: Processor, size: Sides) -> tuple[Sides, Sides | None]:
    if processor.option("crop_pct") is None:
        return _plain(processor, size)
    scaled = tuple(int(side / processor.number("crop_pct")) for side in size)
    return _plain(processor, scaled[:1] if size[0] == size[-1] else scaled)


BACKENDS: Mapping[str, Backend] = {
    "TorchvisionBackend": Backend(
        *("torch", "zero", "fused", "scaled"),
        {0: "nearest-exact", 1: "lanczos", 2: "bilinear", 3: "bicubic"},
    ),
    "PilBackend": Backend(
        *("pillow", "floor", "stepwise", "stepwise"),
        {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"},
    ),
}
_ALL = frozenset({"do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_pad"})
_UNPADDED = _ALL - {"do_pad"}
# a family per class with code of its own, and that of the backends for all others (ViT, DeiT, BiT, CLIP, SigLIP, …)
FAMILIES: Mapping[str, Family] = {
    "TorchvisionBackend": Family(_plain, _ALL),
    "PilBackend": Family(_plain, _ALL),
    "BeitImageProcessor": Family(_plain, _UNPADDED),
    "ConvNextImageProcessor": Family(_convnext, _UNPADDED),
    "EfficientNetImageProcessor": Family(_plain, _UNPADDED | {"rescale_offset", "include_top"}),
    "LevitImageProcessor": Family(_levit, _ALL),
    "MobileNetV2ImageProcessor": Family(_plain, _UNPADDED),
    "MobileViTImageProcessor": Family(_plain, _UNPADDED - {"do_normalize"} | {"do_flip_channel_order"}),
    "PoolFormerImageProcessor": Family(_poolformer, _ALL),
    "SegformerImageProcessor": Family(_plain, _UNPADDED - {"do_center_crop"}),
}
