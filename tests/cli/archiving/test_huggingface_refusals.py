"""Options of image processors that cannot be reproduced are refused, unless flags replace them."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

import pytest
from PIL import Image

from tests.cli.archiving.huggingface_cases import (
    CROP,
    LEVELS,
    RECTANGLE,
    SHORTER,
    SIGNED,
    assert_equal,
    flags,
    processor_of,
)
from torchserve_saliency_cli.archiving.arguments import UsageError
from torchserve_saliency_cli.archiving.huggingface_input import huggingface_input
from torchserve_saliency_cli.archiving.preprocessing import changed_input


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("ViT", {"size": {"longest_edge": 40}}, r"^size \{'longest_edge': 40\} .*--resize and --input-size"),
        ("Bit", {"size": {"shortest_edge": 40, "longest_edge": 60}}, "size .* neither .*--resize and --input-size"),
        ("ViT", {"size": {"max_height": 40, "max_width": 60}}, "size .*--resize and --input-size"),
        ("ViT", {"size": SHORTER}, "size .* different sizes, because they are not cropped; --input-size"),
        ("Levit", {"do_center_crop": False}, "size .* different sizes.*--input-size"),
        ("ViT", {"do_resize": False}, "do_resize False .* different sizes.*--input-size"),
        ("CLIP", {"crop_size": {"shortest_edge": 32}}, "crop_size .* no height and width; --input-size"),
        ("ViT", {"do_center_crop": True}, "crop_size None .*--resize and --input-size"),
        ("ConvNext", {"size": RECTANGLE}, "size .* no shortest_edge.*--resize and --input-size"),
        ("ConvNext", {"size": 33, **CROP}, r"crop_size .* a crop of \(33, 33\) again; --input-size"),
        ("ConvNext", {"size": 33, "crop_pct": 0}, "crop_pct 0 .* no number above 0; --input-size, --mean"),
        ("ConvNext", {"size": 1, "crop_pct": 3.0}, r"ConvNextImageProcessor: .*positive sides, resize \(0,\)"),
        ("ViT", {"do_pad": True, "pad_size": 300}, "pad_size .* pads .*--input-size"),
        ("ViT", {"resample": 5}, r"resample 5 .* is none of 0 \(nearest-exact\).*--interpolation"),
        ("ViT", {"image_mean": [0.5, 0.5]}, r"image_mean .* one number per channel; --mean and --std"),
        ("ViT", {"image_std": [0.5, 0.5, "x"]}, r"image_std .* one number per channel; --mean and --std"),
        ("ViT", {"image_std": [0.5, 0.5, 0]}, r"std .* std above 0; .*--mean and --std"),
        ("PoolFormer", {"image_mean": None}, "image_mean None .* one number per channel; --mean and --std"),
        ("ViT", {"rescale_factor": 0}, "rescale_factor 0 .* no number above 0; .*--mean and --std"),
        ("ViT", {"rescale_factor": 2, "do_normalize": False}, "rescale_factor 2 .* overflow; --mean and --std"),
        ("Perceiver", {}, "PerceiverImageProcessor is not supported: .*center_crop.*--input-size, --mean and --std"),
        ("DINOv3ViT", {}, "DINOv3ViTImageProcessor is not supported: its own _preprocess"),
        ("TextNet", {}, "TextNetImageProcessor is not supported: .*resize"),
    ],
)
def test_an_option_that_cannot_be_reproduced_is_refused(
    transformers: ModuleType, name: str, options: Mapping[str, object], reason: str
) -> None:
    with pytest.raises(UsageError, match=reason):
        huggingface_input(processor_of(transformers, name, options), flags())


@pytest.mark.parametrize(
    ("name", "options", "words", "expected"),
    [
        (
            *("ViT", {"size": {"longest_edge": 40}}, ["--resize", "40", "--input-size", "32"]),
            {"resize": (40,), "size": (32, 32), "resizer": "torch"},
        ),
        ("ViT", {"size": SHORTER}, ["--input-size", "32,24"], {"resize": (40,), "size": (32, 24)}),
        ("ViT", {"do_resize": False}, ["--input-size", "32"], {"fit": "none", "size": (32, 32)}),
        ("CLIP", {"crop_size": {"shortest_edge": 32}}, ["--input-size", "32"], {"resize": (224,), "size": (32, 32)}),
        ("ConvNext", {"size": 33, **CROP}, ["--input-size", "32"], {"resize": (37,), "size": (32, 32)}),
        ("ViT", {"size": 33, "do_pad": True, "pad_size": 48}, ["--input-size", "33"], {"size": (33, 33)}),
        ("ViT", {"resample": 5}, ["--interpolation", "bicubic"], {"interpolation": "bicubic"}),
        (
            *("ViT", {"image_mean": None, "image_std": [0, 0, 0]}, ["--mean", "0.5,0.5,0.5", "--std", "1,1,1"]),
            {"mean": (0.5,) * 3, "std": (1.0,) * 3, "normalisation": "fused"},
        ),
        (
            *("Perceiver", {}, ["--input-size", "32", "--mean", "0,0,0", "--std", "1,1,1"]),
            {"resize": (32,), "size": (32, 32), "mean": (0.0,) * 3, "std": (1.0,) * 3},
        ),
    ],
)
def test_the_command_line_replaces_an_option_that_cannot_be_reproduced(
    transformers: ModuleType, name: str, options: Mapping[str, object], words: list[str], expected: dict[str, object]
) -> None:
    args = flags(*words)
    spec = changed_input(huggingface_input(processor_of(transformers, name, options), args), args)
    assert {field: getattr(spec, field) for field in expected} == expected


def test_a_mean_for_pixels_replaces_one_for_levels_only_with_its_std(transformers: ModuleType) -> None:
    cases: list[tuple[str, Mapping[str, object]]] = [
        *(("ViT", LEVELS), ("ViT", SIGNED)),
        ("EfficientNet", {"size": 40, "rescale_offset": True}),
    ]
    mean, std = ["--mean", "0.5,0.5,0.5"], ["--std", "0.25,0.25,0.25"]
    for name, options in cases:
        processor = processor_of(transformers, name, options)
        with pytest.raises(UsageError, match=r"not for pixels in 0-1, as --mean and --std are; give both"):
            huggingface_input(processor, flags(*mean))
        spec = huggingface_input(processor, flags(*mean, *std))
        assert (spec.unit_mean, spec.unit_std) == ((0.5,) * 3, (0.25,) * 3)
    assert huggingface_input(processor_of(transformers, "ViT", {}), flags(*mean)).std == (0.5,) * 3


def test_a_subclass_is_supported_unless_it_replaces_a_method(
    transformers: ModuleType, pictures: list[Image.Image]
) -> None:
    """Models bring such classes along (`trust_remote_code`), some with the names of those of transformers."""
    base: Any = transformers.ConvNextImageProcessor

    class Plain(base):  # type: ignore[misc]
        size = {"shortest_edge": 33}  # noqa: RUF012

        def post_process(self) -> None:
            """A method that the pipeline does not call."""

    class ViTImageProcessor(base):  # type: ignore[misc]
        def normalize(self, image: Any, mean: Any, std: Any, **_: object) -> Any:
            return image

    processor = Plain()
    spec = huggingface_input(processor, flags())
    assert spec.size == (33, 33)
    assert_equal(processor, spec, pictures)
    with pytest.raises(UsageError, match="ViTImageProcessor is not supported: its own normalize"):
        huggingface_input(ViTImageProcessor(), flags())


def test_an_object_that_is_no_processor_of_transformers_5_is_refused() -> None:
    with pytest.raises(UsageError, match=r"object is not supported: it has none of the backends .*--input-size"):
        huggingface_input(object(), flags())
