"""The network's input equals that of the image processors of transformers in every bit, as its pipeline calls them.

`SPECS` says which fields of InputSpec express the options of which processor. The pipeline for image classification
takes the processors that resize tensors with torchvision; the processors for Pillow are compared, too.
"""

from __future__ import annotations

import functools
import importlib
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from torchserve_saliency.images.preprocessing import InputSpec, prepare

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

PHOTOS = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "photos"
TORCH = {"resizer": "torch", "crop_rounding": "zero", "normalisation": "fused"}
PILLOW = {"resizer": "pillow", "crop_rounding": "floor", "normalisation": "stepwise"}
HALF = {"mean": (0.5,) * 3, "std": (0.5,) * 3}
PLAIN = {"mean": (0.0,) * 3, "std": (1.0,) * 3}
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
CLIP = {"mean": (0.48145466, 0.4578275, 0.40821073), "std": (0.26862954, 0.26130258, 0.27577711)}
IMAGENET_OPTIONS = {"image_mean": list(IMAGENET["mean"]), "image_std": list(IMAGENET["std"])}
SQUARE = {"size": (224, 224), "resize": (224, 224)}
EDGE = {"size": (224, 224), "interpolation": "bicubic"}
HEIGHT_WIDTH = {"height": 240, "width": 160}
SIGNED = {"offset": 1.0, "rescale": 1 / 127.5}
TOP = {"extra_std": (0.5,) * 3, "interpolation": "bicubic"}

Case = tuple[str, Mapping[str, Any], Mapping[str, Any]]

SPECS: tuple[Case, ...] = (
    ("ViT", {}, SQUARE | HALF),
    ("ViT", {"size": HEIGHT_WIDTH, **IMAGENET_OPTIONS}, {"size": (240, 160), "resize": (240, 160), **IMAGENET}),
    ("ViT", {"size": 200}, {"size": (200, 200), "resize": (200, 200), **HALF}),
    ("ViT", {"resample": 0}, SQUARE | HALF | {"interpolation": "nearest-exact"}),
    ("ViT", {"resample": 1}, SQUARE | HALF | {"interpolation": "lanczos"}),
    ("ViT", {"rescale_factor": 1 / 127.5}, SQUARE | HALF | {"rescale": 1 / 127.5}),
    ("ViT", {"do_rescale": False}, SQUARE | HALF | {"rescale": 1.0}),
    ("ViT", {"do_normalize": False}, SQUARE | PLAIN | {"normalisation": "scaled"}),
    ("ViT", {"do_normalize": False, "do_rescale": False}, SQUARE | PLAIN | {"rescale": 1.0}),
    (
        "ViT",
        {"do_resize": False, "do_center_crop": True, "crop_size": {"height": 100, "width": 121}},
        {"size": (100, 121), "fit": "none", **HALF},
    ),
    ("DeiT", IMAGENET_OPTIONS, EDGE | IMAGENET | {"resize": (256, 256)}),
    ("Beit", {}, SQUARE | HALF | {"interpolation": "bicubic"}),
    ("Beit", {"do_center_crop": True, "size": 256}, EDGE | HALF | {"resize": (256, 256)}),
    ("Bit", {"size": {"shortest_edge": 256}, **IMAGENET_OPTIONS}, EDGE | IMAGENET | {"resize": (256,), "alpha": "key"}),
    (
        "Bit",
        {"size": {"shortest_edge": 101}, "crop_size": {"height": 224, "width": 130}},
        {"size": (224, 130), "resize": (101,), "interpolation": "bicubic", "alpha": "key", **CLIP},
    ),
    ("CLIP", {"size": 225}, EDGE | CLIP | {"resize": (225,), "alpha": "key"}),
    ("ConvNext", {"size": {"shortest_edge": 224}}, EDGE | HALF | {"resize": (256,)}),
    ("ConvNext", {"size": 224, "crop_pct": 0.95, "resample": 2}, {"size": (224, 224), "resize": (235,), **HALF}),
    ("ConvNext", {}, {"size": (384, 384), "resize": (384, 384), "interpolation": "bicubic", **HALF}),
    (
        "MobileViT",
        {"size": {"shortest_edge": 288}, "do_normalize": True},
        {"size": (256, 256), "resize": (288,), "interpolation": "bicubic", "normalisation": "scaled", **PLAIN}
        | {"channel_order": "bgr"},
    ),
    (
        "MobileViT",
        {"size": {"shortest_edge": 288}, "resample": 2, "do_flip_channel_order": False},
        {"size": (256, 256), "resize": (288,), "normalisation": "scaled", **PLAIN},
    ),
    ("EfficientNet", {}, {"size": (346, 346), "resize": (346, 346), **HALF, **TOP}),
    (
        "EfficientNet",
        {"rescale_offset": True, "rescale_factor": 1 / 127.5, "size": 224},
        {**SQUARE, **HALF, **TOP, **SIGNED, "normalisation": "scaled"},
    ),
    (
        "EfficientNet",
        {"include_top": False, "do_center_crop": True},
        {"size": (289, 289), "resize": (346, 346), "interpolation": "bicubic", **HALF},
    ),
    (
        "EfficientNet",
        {"do_normalize": False, "rescale_offset": True, "size": 224},
        {**SQUARE, **PLAIN, **TOP, "offset": 1.0, "normalisation": "scaled"},
    ),
    ("Siglip", {}, SQUARE | HALF | {"interpolation": "bicubic", "alpha": "key"}),
    ("Levit", {}, EDGE | IMAGENET | {"resize": (256,)}),
    ("PoolFormer", {}, EDGE | IMAGENET | {"resize": (248,)}),
    ("MobileNetV1", {}, {"size": (224, 224), "resize": (256,), **HALF}),
    ("MobileNetV2", {}, {"size": (224, 224), "resize": (256,), **HALF}),
)
PILLOW_SPECS: tuple[Case, ...] = (
    ("ViT", {}, SQUARE | HALF),
    ("ViT", {"rescale_factor": 1 / 127.5}, SQUARE | HALF | {"rescale": 1 / 127.5}),
    ("ViT", {"do_rescale": False}, SQUARE | HALF | {"rescale": 1.0}),
    ("ViT", {"do_normalize": False}, SQUARE | PLAIN),
    ("Bit", {"size": {"shortest_edge": 235}}, EDGE | CLIP | {"resize": (235,), "alpha": "key"}),
    (
        "Bit",
        {"size": {"shortest_edge": 101}, "crop_size": {"height": 224, "width": 130}},
        {"size": (224, 130), "resize": (101,), "interpolation": "bicubic", "alpha": "key", **CLIP},
    ),
    ("ConvNext", {"size": {"shortest_edge": 224}}, EDGE | HALF | {"resize": (256,)}),
    (
        "MobileViT",
        {"size": {"shortest_edge": 288}},
        {"size": (256, 256), "resize": (288,), "interpolation": "bicubic", "channel_order": "bgr", **PLAIN},
    ),
    ("EfficientNet", {}, {"size": (346, 346), "resize": (346, 346), **HALF, **TOP}),
    (
        "EfficientNet",
        {"rescale_offset": True, "rescale_factor": 1 / 127.5, "size": 224},
        {**SQUARE, **HALF, **TOP, **SIGNED},
    ),
)
SIZES = [(301, 240), (321, 427), (1, 1), (6, 60), (60, 6), (223, 224), (225, 224), (640, 481)]
MODES = ["1", "L", "LA", "P", "RGBA", "RGBa", "PA", "CMYK", "YCbCr", "HSV", "RGBX"]
KEYS = [("L", 7), ("P", 3), ("P", bytes(range(256))), ("RGB", (1, 2, 3)), ("1", 0)]


@functools.cache
def picture(width: int, height: int) -> Image.Image:
    """Return a picture of noise."""
    return Image.fromarray(np.random.default_rng((width, height)).integers(0, 256, (height, width, 3), np.uint8))


def in_mode(mode: str) -> Image.Image:
    """Return a picture of noise in a mode of Pillow; transparency is noise, too."""
    if mode not in ("LA", "RGBA", "RGBa", "PA"):
        return picture(301, 240).convert(mode)
    image = picture(301, 240).convert({"LA": "L", "PA": "P"}.get(mode, "RGB"))
    image.putalpha(picture(240, 301).convert("L").transpose(Image.Transpose.ROTATE_90))
    return image if image.mode == mode else image.convert(mode)


def reference(processor: Any, image: Image.Image) -> torch.Tensor:
    """Return the input that the pipeline computes for a picture."""
    load: Any = importlib.import_module("transformers.image_utils").load_image
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow advises to keep the transparency
        values: torch.Tensor = processor(images=load(image), return_tensors="pt")["pixel_values"][0]
    return values.to(torch.float32)


@functools.cache
def processors() -> tuple[tuple[Any, InputSpec], ...]:
    """Return all processors with the InputSpec of each."""
    found: list[tuple[Any, InputSpec]] = []
    for name, options, fields in SPECS:
        processor = getattr(transformers, f"{name}ImageProcessor")(**options)
        found.append((processor, InputSpec(**{"alpha": "drop", **TORCH, **fields})))
    for name, options, fields in PILLOW_SPECS:
        module = importlib.import_module(f"transformers.models.{name.lower()}.image_processing_pil_{name.lower()}")
        processor = getattr(module, f"{name}ImageProcessorPil")(**options)
        found.append((processor, InputSpec(**{"alpha": "drop", **PILLOW, **fields})))
    return tuple(found)


def check(image: Image.Image, every: int = 1) -> None:
    """Assert that the inputs of a picture equal those of each processor, or of one of `every` few."""
    for processor, spec in processors()[::every]:
        ours, wanted = prepare(image, spec).tensor, reference(processor, image)
        assert ours.dtype == torch.float32
        assert torch.equal(ours, wanted), f"{type(processor).__name__}: {spec}"


@pytest.mark.parametrize("size", SIZES)
def test_inputs_of_all_sizes(size: tuple[int, int]) -> None:
    check(picture(*size))


@pytest.mark.parametrize("mode", MODES)
def test_inputs_of_all_modes(mode: str) -> None:
    check(in_mode(mode), every=5)


@pytest.mark.parametrize(("mode", "key"), KEYS, ids=str)
def test_inputs_of_pictures_with_a_transparent_colour(mode: str, key: object) -> None:
    image = picture(301, 240).convert(mode)
    if mode == "RGB":
        image.putpixel((50, 60), (1, 2, 3))
    image.info["transparency"] = key
    check(image, every=5)


@pytest.mark.parametrize("name", ["peacock.jpg", "toucan.jpg", "zebra.jpg", "great_grey_owl.jpg", "dog_and_cat.png"])
def test_inputs_of_photographs(name: str) -> None:
    if not PHOTOS.is_dir():
        pytest.skip("the photographs of shared/data are not here")
    check(Image.open(PHOTOS / name))


def test_inputs_of_50_megapixels() -> None:
    image = picture(640, 481).resize((8660, 5773), Image.Resampling.BICUBIC)
    for processor, spec in (processors()[0], processors()[13], processors()[19]):
        assert torch.equal(prepare(image, spec).tensor, reference(processor, image))


def test_the_pipeline_takes_the_processors_of_torchvision(tmp_path: Path) -> None:
    transformers.ViTImageProcessor().save_pretrained(tmp_path)
    loaded = transformers.AutoImageProcessor.from_pretrained(tmp_path)
    assert loaded.backend == "torchvision"
