"""The preprocessing of the image processors of transformers, compared with them bit for bit."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.archives import parsed_arguments
from torchserve_saliency.images.preprocessing import InputSpec, prepare
from torchserve_saliency_cli.archiving.arguments import ArchiveArguments, UsageError
from torchserve_saliency_cli.archiving.huggingface_input import huggingface_input
from torchserve_saliency_cli.archiving.preprocessing import changed_input

SIZES = [
    ("RGB", 97, 64),
    ("RGB", 31, 150),
    ("L", 41, 60),
    ("RGBA", 50, 51),
    ("P", 33, 34),
    ("LA", 64, 63),
    ("RGB", 1, 1),
]
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
LEVELS = {"do_rescale": False, "image_mean": [127.5] * 3, "image_std": [127.5] * 3}
SIGNED = {"rescale_factor": 1 / 127.5, "image_mean": [1, 1, 1], "image_std": [1, 1, 1]}
SHORTER, RECTANGLE = {"shortest_edge": 40}, {"height": 24, "width": 33}
CROP = {"do_center_crop": True, "crop_size": {"height": 32, "width": 25}}

CASES: list[tuple[str, Mapping[str, object]]] = [
    ("ViT", {}),
    ("ViT", {"size": RECTANGLE, **IMAGENET}),
    ("ViT", {"size": 40, **LEVELS}),
    ("ViT", {"size": SHORTER, **CROP, "resample": 0}),
    ("ViT", {"size": RECTANGLE, "resample": 1, "do_normalize": False}),
    ("ViT", {"size": RECTANGLE, "do_normalize": False, "do_rescale": False, "do_convert_rgb": True}),
    ("ViT", {"size": RECTANGLE, "image_mean": 0.5, "image_std": [0.25]}),
    ("ViT", {"size": RECTANGLE, "do_resize": False, **CROP}),
    ("ViT", {"size": RECTANGLE, "do_pad": True, "pad_size": RECTANGLE}),
    ("DeiT", IMAGENET),
    ("DeiT", {"size": 40, "crop_size": 33, **SIGNED}),
    ("DeiT", {"size": RECTANGLE, "do_center_crop": False, "resample": 2}),
    ("Beit", {}),
    ("Beit", {"size": 40, **CROP, "do_reduce_labels": True, **IMAGENET}),
    ("Beit", {"size": [40, 25], "do_pad": True, "do_normalize": False}),
    ("Bit", {}),
    ("Bit", {"size": SHORTER, **CROP, "do_convert_rgb": False, **IMAGENET}),
    ("Bit", {"size": {"shortest_edge": 17}, "crop_size": {"height": 48, "width": 20}}),
    ("CLIP", {"size": 40, "crop_size": 31}),
    ("CLIP", {"size": RECTANGLE, "do_center_crop": False, **LEVELS}),
    ("Siglip", {"size": RECTANGLE}),
    ("Siglip", {"size": [33, 40], "resample": 2, "do_convert_rgb": False, **SIGNED}),
    ("ConvNext", {}),
    ("ConvNext", {"size": {"shortest_edge": 33}, **IMAGENET}),
    ("ConvNext", {"size": 32, "crop_pct": 0.95, "resample": 2}),
    ("ConvNext", {"size": 32, "crop_pct": 1.2, "do_center_crop": True, "crop_size": 32}),
    ("ConvNext", {"size": 384, **CROP, "do_pad": True, "pad_size": 500}),
    ("MobileViT", {}),
    ("MobileViT", {"size": SHORTER, "crop_size": 33, "resample": 2, "do_flip_channel_order": False}),
    ("MobileViT", {"size": RECTANGLE, "do_center_crop": False, "do_normalize": True, "rescale_factor": 1 / 127.5}),
    ("MobileViT", {"size": SHORTER, **CROP, "do_rescale": False}),
    ("EfficientNet", IMAGENET),
    ("EfficientNet", {"size": RECTANGLE, "rescale_offset": True, "rescale_factor": 1 / 127.5, "resample": 0}),
    ("EfficientNet", {"size": 40, **CROP, "include_top": False}),
    ("EfficientNet", {"size": 40, "do_normalize": False, "rescale_offset": True, "image_std": 0.3}),
    ("EfficientNet", {"size": 40, "do_rescale": False, "rescale_offset": True}),
    ("Levit", {}),
    ("Levit", {"size": {"shortest_edge": 33}, "crop_size": 32}),
    ("Levit", {"size": RECTANGLE, "do_center_crop": False}),
    ("PoolFormer", {}),
    ("PoolFormer", {"size": {"shortest_edge": 33}, "crop_pct": 0.95, **CROP}),
    ("PoolFormer", {"size": 33, "crop_pct": None, **CROP}),
    ("PoolFormer", {"size": {"height": 33, "width": 33}, **CROP}),
    ("PoolFormer", {"size": RECTANGLE, **CROP}),
    ("MobileNetV1", {"size": SHORTER, **CROP}),
    ("MobileNetV1", {"size": 40, "crop_size": 48, **LEVELS}),
    ("MobileNetV2", {}),
    ("MobileNetV2", {"size": RECTANGLE, "do_center_crop": False, "do_pad": True, "pad_size": 99}),
    ("Pvt", {"size": RECTANGLE}),
    ("Pvt", {"size": SHORTER, **CROP, "resample": 0}),
    ("Segformer", {"size": RECTANGLE}),
    ("Segformer", {"size": 33, **CROP, "do_reduce_labels": True}),  # its crop is ignored
    ("Blip", {"size": 40}),  # a class without code of its own
    ("Chameleon", {"size": 40, "crop_size": 33}),
]
PIL_CASES: list[tuple[str, Mapping[str, object]]] = [
    ("ViT", {"size": RECTANGLE, "resample": 4}),
    ("ViT", {"size": SHORTER, **CROP, **LEVELS}),
    ("Bit", {"size": {"shortest_edge": 17}, "crop_size": {"height": 48, "width": 20}, **SIGNED}),
    ("ConvNext", {"size": 33, "resample": 0, "do_normalize": False}),
    ("MobileViT", {"size": SHORTER, "crop_size": 33}),
    ("EfficientNet", {"size": 40, "rescale_offset": True, "rescale_factor": 1 / 127.5}),
    ("Levit", {"size": 33, **CROP}),
    ("PoolFormer", {"size": 33, **CROP}),
    ("Segformer", {"size": 33, **CROP}),
]
TIMM = {"input_size": [3, 33, 33], "crop_pct": 0.9, "interpolation": "bicubic", "mean": [0.5] * 3, "std": [0.25] * 3}


@pytest.fixture(scope="module")
def transformers() -> ModuleType:
    return pytest.importorskip("transformers", reason="transformers is not installed")


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    """Return pictures of several modes and sizes, one with a transparent colour."""
    drawn = [_noise(*size) for size in SIZES]
    keyed = _noise("RGB", 60, 45)
    keyed.info["transparency"] = keyed.getpixel((0, 0))
    return [*drawn, keyed]


def _noise(mode: str, width: int, height: int) -> Image.Image:
    levels = np.random.default_rng((width, height)).integers(0, 256, (height, width, 4), np.uint8)
    return Image.fromarray(levels).convert(mode)


def _flags(*words: str) -> ArchiveArguments:
    return parsed_arguments("--arch", "hf:x", *words)


def _processor(transformers: ModuleType, name: str, options: Mapping[str, object]) -> Any:
    return getattr(transformers, f"{name}ImageProcessor")(**options)


def _assert_equal(processor: Any, spec: InputSpec, images: list[Image.Image]) -> None:
    """Compare with the processor as the pipeline calls it."""
    from transformers.image_utils import load_image

    for image in images:
        expected = processor(images=load_image(image), return_tensors="pt")["pixel_values"][0].to(torch.float32)
        assert torch.equal(prepare(image, spec).tensor, expected), (image.mode, image.size)


@pytest.mark.parametrize(("name", "options"), CASES, ids=lambda value: value if isinstance(value, str) else "")
def test_the_input_equals_that_of_the_processor(
    transformers: ModuleType, pictures: list[Image.Image], name: str, options: Mapping[str, object]
) -> None:
    processor = _processor(transformers, name, options)
    _assert_equal(processor, huggingface_input(processor, _flags()), pictures)


@pytest.mark.parametrize(("name", "options"), PIL_CASES, ids=lambda value: value if isinstance(value, str) else "")
def test_the_input_equals_that_of_the_pil_backend(
    transformers: ModuleType, tmp_path: Path, pictures: list[Image.Image], name: str, options: Mapping[str, object]
) -> None:
    processor = _from_folder(
        transformers, tmp_path, {"image_processor_type": f"{name}ImageProcessor", **options}, "pil"
    )
    assert type(processor).__name__ == f"{name}ImageProcessorPil"
    _assert_equal(processor, huggingface_input(processor, _flags()), pictures)


def test_the_input_of_a_photograph_equals_that_of_the_processors(transformers: ModuleType, data: Path) -> None:
    with Image.open(data / "photos" / "peacock.jpg") as photo:
        photo.load()
    for name in dict.fromkeys(name for name, _ in CASES):
        processor = _processor(transformers, name, {})
        _assert_equal(processor, huggingface_input(processor, _flags()), [photo])


def _from_folder(
    transformers: ModuleType, folder: Path, config: Mapping[str, object], backend: str | None = None
) -> Any:
    (folder / "preprocessor_config.json").write_text(json.dumps(config))
    chosen = {"backend": backend} if backend else {}
    return transformers.AutoImageProcessor.from_pretrained(str(folder), **chosen)


@pytest.mark.parametrize(
    ("config", "resize", "size"),
    [
        ({"feature_extractor_type": "ViTFeatureExtractor", "size": 40}, (40, 40), (40, 40)),
        (
            {"image_processor_type": "ViTImageProcessorFast", "crop_size": None, "do_convert_rgb": None},
            (224, 224),
            (224, 224),
        ),
        ({"feature_extractor_type": "ConvNextFeatureExtractor", "size": 33, "crop_pct": 0.9}, (36,), (33, 33)),
        ({"image_processor_type": "BitImageProcessor", "size": 40, "crop_size": [32, 24]}, (40,), (32, 24)),
        ({"image_processor_type": "DeiTImageProcessorPil", "crop_pct": 0.1}, (256, 256), (224, 224)),
    ],
)
def test_the_processor_of_a_folder(
    transformers: ModuleType,
    tmp_path: Path,
    pictures: list[Image.Image],
    config: Mapping[str, object],
    resize: tuple[int, ...],
    size: tuple[int, int],
) -> None:
    """Old names of classes, plain numbers as sizes, options that are null."""
    processor = _from_folder(transformers, tmp_path, config)
    spec = huggingface_input(processor, _flags())
    assert (spec.resize, spec.size) == (resize, size)
    _assert_equal(processor, spec, pictures)


@pytest.mark.parametrize(
    "changes",
    [{}, {"crop_mode": "squash"}, {"crop_mode": "border"}, {"input_size": [3, 40, 25]}, {"interpolation": "lanczos"}],
)
def test_the_input_equals_that_of_the_wrapper_of_timm(
    transformers: ModuleType, pictures: list[Image.Image], changes: Mapping[str, object]
) -> None:
    pytest.importorskip("timm", reason="timm is not installed")
    processor = transformers.TimmWrapperImageProcessor(pretrained_cfg={**TIMM, **changes}, architecture="resnet18")
    _assert_equal(processor, huggingface_input(processor, _flags()), pictures)


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
        huggingface_input(_processor(transformers, name, options), _flags())


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
    args = _flags(*words)
    spec = changed_input(huggingface_input(_processor(transformers, name, options), args), args)
    assert {field: getattr(spec, field) for field in expected} == expected


def test_a_mean_for_pixels_replaces_one_for_levels_only_with_its_std(transformers: ModuleType) -> None:
    cases: list[tuple[str, Mapping[str, object]]] = [
        *(("ViT", LEVELS), ("ViT", SIGNED)),
        ("EfficientNet", {"size": 40, "rescale_offset": True}),
    ]
    mean, std = ["--mean", "0.5,0.5,0.5"], ["--std", "0.25,0.25,0.25"]
    for name, options in cases:
        processor = _processor(transformers, name, options)
        with pytest.raises(UsageError, match=r"not for pixels in 0-1, as --mean and --std are; give both"):
            huggingface_input(processor, _flags(*mean))
        spec = huggingface_input(processor, _flags(*mean, *std))
        assert (spec.unit_mean, spec.unit_std) == ((0.5,) * 3, (0.25,) * 3)
    assert huggingface_input(_processor(transformers, "ViT", {}), _flags(*mean)).std == (0.5,) * 3


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
    spec = huggingface_input(processor, _flags())
    assert spec.size == (33, 33)
    _assert_equal(processor, spec, pictures)
    with pytest.raises(UsageError, match="ViTImageProcessor is not supported: its own normalize"):
        huggingface_input(ViTImageProcessor(), _flags())


def test_an_object_that_is_no_processor_of_transformers_5_is_refused() -> None:
    with pytest.raises(UsageError, match=r"object is not supported: it has none of the backends .*--input-size"):
        huggingface_input(object(), _flags())
