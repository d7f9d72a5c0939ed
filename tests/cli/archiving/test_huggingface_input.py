"""The preprocessing of the image processors of transformers, compared with them bit for bit."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image

from tests.cli.archiving.huggingface_cases import (
    CASES,
    PIL_CASES,
    assert_equal,
    flags,
    processor_of,
)
from torchserve_saliency_cli.archiving.huggingface_input import huggingface_input

TIMM = {"input_size": [3, 33, 33], "crop_pct": 0.9, "interpolation": "bicubic", "mean": [0.5] * 3, "std": [0.25] * 3}


@pytest.mark.parametrize(("name", "options"), CASES, ids=lambda value: value if isinstance(value, str) else "")
def test_the_input_equals_that_of_theprocessor_of(
    transformers: ModuleType, pictures: list[Image.Image], name: str, options: Mapping[str, object]
) -> None:
    processor = processor_of(transformers, name, options)
    assert_equal(processor, huggingface_input(processor, flags()), pictures)


@pytest.mark.parametrize(("name", "options"), PIL_CASES, ids=lambda value: value if isinstance(value, str) else "")
def test_the_input_equals_that_of_the_pil_backend(
    transformers: ModuleType, tmp_path: Path, pictures: list[Image.Image], name: str, options: Mapping[str, object]
) -> None:
    processor = _from_folder(
        transformers, tmp_path, {"image_processor_type": f"{name}ImageProcessor", **options}, "pil"
    )
    assert type(processor).__name__ == f"{name}ImageProcessorPil"
    assert_equal(processor, huggingface_input(processor, flags()), pictures)


def test_the_input_of_a_photograph_equals_that_of_the_processors(transformers: ModuleType, data: Path) -> None:
    with Image.open(data / "photos" / "peacock.jpg") as photo:
        photo.load()
    for name in dict.fromkeys(name for name, _ in CASES):
        processor = processor_of(transformers, name, {})
        assert_equal(processor, huggingface_input(processor, flags()), [photo])


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
    spec = huggingface_input(processor, flags())
    assert (spec.resize, spec.size) == (resize, size)
    assert_equal(processor, spec, pictures)


@pytest.mark.parametrize(
    "changes",
    [{}, {"crop_mode": "squash"}, {"crop_mode": "border"}, {"input_size": [3, 40, 25]}, {"interpolation": "lanczos"}],
)
def test_the_input_equals_that_of_the_wrapper_of_timm(
    transformers: ModuleType, pictures: list[Image.Image], changes: Mapping[str, object]
) -> None:
    pytest.importorskip("timm", reason="timm is not installed")
    processor = transformers.TimmWrapperImageProcessor(pretrained_cfg={**TIMM, **changes}, architecture="resnet18")
    assert_equal(processor, huggingface_input(processor, flags()), pictures)
