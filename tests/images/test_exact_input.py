"""The network's input equals that of torchvision's, timm's and Hugging Face's own preprocessing in every bit."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision import models
from torchvision.transforms import functional as vision
from torchvision.transforms.v2 import functional as vision2

from tests.archives import parsed_arguments
from torchserve_saliency.images.normalisation import normalise
from torchserve_saliency.images.preprocessing import InputSpec, prepare
from torchserve_saliency_cli.archiving.preprocessing import timm_input, torchvision_input

PHOTOS = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "photos"
Transform = Callable[[Image.Image], torch.Tensor]


@functools.cache
def picture(width: int, height: int) -> Image.Image:
    """Return a picture with coarse and fine structure."""
    generator = np.random.default_rng((width, height))
    coarse = Image.fromarray(generator.integers(0, 256, (9, 11, 3), np.uint8)).resize((width, height))
    fine = generator.integers(-40, 41, (height, width, 3), np.int16)
    return Image.fromarray(np.clip(np.asarray(coarse) + fine, 0, 255).astype(np.uint8))


@functools.cache
def torchvision_presets() -> dict[InputSpec, Transform]:
    """Return the different presets of torchvision's classifiers, by our description of them."""
    entries = [entry for name in models.list_models(module=models) for entry in models.get_model_weights(name)]
    return {torchvision_input(entry): entry.transforms() for entry in entries}


def assert_equal(image: Image.Image, spec: InputSpec, wanted: torch.Tensor) -> None:
    tensor = prepare(image, spec).tensor
    assert tensor.dtype == wanted.dtype == torch.float32
    assert torch.equal(tensor, wanted)


@pytest.mark.parametrize("size", [(480, 320), (321, 427), (1, 1), (6, 60), (60, 6), (50, 61), (640, 481)])
def test_every_preset_of_torchvision(size: tuple[int, int]) -> None:
    assert len(torchvision_presets()) > 15
    for spec, transform in torchvision_presets().items():
        assert_equal(picture(*size), spec, transform(picture(*size)))


@pytest.mark.parametrize("size", [(4000, 3000), (3000, 4000), (8660, 5773), (2500, 20000)])
def test_presets_of_torchvision_on_megapixels(size: tuple[int, int]) -> None:
    image = picture(640, 481).resize(size, Image.Resampling.BICUBIC)
    for entry in (models.ResNet50_Weights.IMAGENET1K_V1, models.EfficientNet_B0_Weights.IMAGENET1K_V1):
        assert_equal(image, torchvision_input(entry), entry.transforms()(image))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "HSV", "LAB", "RGBX"])
def test_modes_of_opaque_pictures(mode: str) -> None:
    image = picture(321, 240).convert(mode) if mode != "LAB" else lab(picture(321, 240))
    entry = models.ResNet50_Weights.IMAGENET1K_V2
    assert_equal(image, torchvision_input(entry), entry.transforms()(image.convert("RGB")))


def lab(image: Image.Image) -> Image.Image:
    return Image.merge("LAB", [Image.fromarray(np.asarray(image)[..., k].copy()) for k in range(3)])


@pytest.mark.parametrize("mode", ["LA", "La", "RGBA", "RGBa", "PA"])
def test_modes_of_transparent_pictures_are_composited_on_white(mode: str) -> None:
    image = picture(321, 240).convert("L" if mode in ("LA", "La") else "P" if mode == "PA" else "RGB")
    image.putalpha(picture(321, 240).convert("L").transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    image = image if image.mode == mode else image.convert(mode)
    straight = image.convert("LA").convert("RGBA") if mode == "La" else image.convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(straight, mask=straight)
    entry = models.ResNet50_Weights.IMAGENET1K_V2
    assert_equal(image, torchvision_input(entry), entry.transforms()(white))


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I", "F"])
def test_modes_of_more_than_8_bits_are_resized_as_floats(mode: str) -> None:
    """A8: torchvision's own steps on a picture of mode F with levels in 0-1."""
    deep = np.asarray(picture(321, 240).convert("L")).astype(np.uint16) * 257 + 3
    levels = np.minimum(deep, 65535).astype(np.float32) / np.float32(65535)
    if mode.startswith("I;16"):
        order = ">u2" if mode == "I;16B" else "<u2"
        image = Image.frombytes(mode, (321, 240), np.minimum(deep, 65535).astype(order).tobytes())
    else:
        image = Image.fromarray(levels if mode == "F" else np.minimum(deep, 65535).astype(np.int32))
    spec = InputSpec(mean=(0.4,), std=(0.3,))
    cropped = vision.center_crop(vision.resize(Image.fromarray(levels), [256]), [224, 224])
    wanted = vision.normalize(vision.pil_to_tensor(cropped), [0.4], [0.3])
    assert_equal(image, spec, wanted)
    three = InputSpec(mean=(0.4, 0.5, 0.6), std=(0.3, 0.2, 0.25))
    grey = vision.pil_to_tensor(cropped).expand(3, -1, -1).clone()
    assert_equal(image, three, vision.normalize(grey, [0.4, 0.5, 0.6], [0.3, 0.2, 0.25]))


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="the photographs of shared/data are not here")
def test_photographs_for_every_preset_of_torchvision() -> None:
    for name in ("great_grey_owl.jpg", "toucan.jpg", "zebra.jpg", "peacock.jpg"):
        image = Image.open(PHOTOS / name)
        for spec, transform in list(torchvision_presets().items())[::3]:
            assert_equal(image, spec, transform(image))


TIMM = {"input_size": (3, 224, 224), "interpolation": "bicubic", "crop_pct": 0.9, "crop_mode": "center"}
TIMM |= {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def timms_transform(config: Mapping[str, object]) -> Transform:
    data: Any = timm.data
    transform: Transform = data.create_transform(**config)
    return transform


@pytest.mark.parametrize("size", [(480, 320), (321, 427), (1, 1), (3, 200), (224, 224), (1601, 901)])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"crop_pct": 1.0, "interpolation": "bilinear"},
        {"crop_mode": "squash"},
        {"crop_mode": "squash", "input_size": (3, 240, 160), "crop_pct": 0.95},
        {"crop_mode": "border"},
        {"crop_mode": "border", "crop_pct": 1.0, "interpolation": "bilinear"},
        {"crop_mode": "border", "input_size": (3, 192, 256)},
        {"input_size": (3, 224, 112)},
        {"input_size": (3, 112, 225), "crop_pct": 0.875},
    ],
)
def test_timms_transforms(changes: dict[str, object], size: tuple[int, int]) -> None:
    config = TIMM | changes
    if size == (3, 200) and config["crop_mode"] == "border":
        pytest.skip("timm rounds the shorter side to nothing")
    spec = timm_input(config, parsed_arguments("--arch", "timm:x"))
    assert_equal(picture(*size), spec, timms_transform(config)(picture(*size)))


@pytest.mark.parametrize(
    "name", ["resnet18", "vit_tiny_patch16_224", "convnext_tiny", "efficientnet_b0", "beit_base_patch16_224"]
)
def test_timms_configurations(name: str) -> None:
    data: Any = timm.data
    config = data.resolve_data_config(timm.models.get_pretrained_cfg(name).to_dict())  # type: ignore[union-attr]
    spec = timm_input(config, parsed_arguments("--arch", "timm:x"))
    assert_equal(picture(321, 427), spec, timms_transform(config)(picture(321, 427)))


def processed(image: Image.Image, scaled: tuple[int, int], crop: int | None, spec: InputSpec) -> torch.Tensor:
    """Return an input as processors of Hugging Face compute it: resize, centre crop, rescale, normalise."""
    resample = Image.Resampling.BICUBIC if spec.interpolation == "bicubic" else Image.Resampling.BILINEAR
    levels: NDArray[np.generic] = np.asarray(image.resize(scaled, resample))
    if crop is not None:
        top, left = (levels.shape[0] - crop) // 2, (levels.shape[1] - crop) // 2
        levels = levels[top : top + crop, left : left + crop]
    unit = (levels.astype(np.float64) * spec.rescale).astype(np.float32)
    normal = (unit - np.array(spec.mean, np.float32)) / np.array(spec.std, np.float32)
    return torch.from_numpy(np.ascontiguousarray(normal.transpose(2, 0, 1)))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("rescale", [1 / 255, 0.00392156862745098, 1 / 127.5])
@pytest.mark.parametrize("size", [(480, 320), (321, 427), (5, 9)])
def test_hugging_face_resize_to_a_rectangle(size: tuple[int, int], rescale: float, interpolation: str) -> None:
    spec = InputSpec((224, 200), (224, 200), interpolation, (0.5,) * 3, (0.5,) * 3, rescale=rescale)
    assert_equal(picture(*size), spec, processed(picture(*size), (200, 224), None, spec))


@pytest.mark.parametrize("size", [(480, 321), (321, 427), (333, 250), (640, 427)])
def test_hugging_face_shortest_edge_and_centre_crop(size: tuple[int, int]) -> None:
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    spec = InputSpec((224, 224), (235,), "bicubic", mean, std, crop_rounding="floor")
    short, long = sorted(size)
    longer = int(235 * long / short)
    scaled = (235, longer) if size[0] <= size[1] else (longer, 235)
    assert_equal(picture(*size), spec, processed(picture(*size), scaled, 224, spec))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(480, 321), (321, 427), (5, 9), (1601, 901)])
def test_hugging_face_fast_processors(size: tuple[int, int], interpolation: str) -> None:
    """Tensors of 8-bit levels are resized with antialiasing, then normalised in two fused steps."""
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    spec = InputSpec((224, 224), (256,), interpolation, mean, std, resizer="torch", normalisation="fused")
    image = picture(*size)
    mode = vision2.InterpolationMode(interpolation)
    short, long = sorted(size)
    longer = int(256 * long / short)
    scaled = [longer, 256] if size[0] <= size[1] else [256, longer]
    resized = vision2.resize(vision2.pil_to_tensor(image), scaled, mode, antialias=True)
    levels = vision2.center_crop(resized, [224, 224]).to(torch.float32)
    factor = 1.0 / spec.rescale
    wanted = vision2.normalize(levels, torch.tensor(mean) * factor, torch.tensor(std) * factor)
    assert_equal(image, spec, wanted)


def test_all_levels_are_normalised_as_by_torchvision() -> None:
    mean, std = (0.485, 0.456, 0.406, 0.5), (0.229, 0.224, 0.225, 0.1)
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1).repeat(2, 1, 1, 4)
    ours = normalise(levels, InputSpec((16, 16), (16,), mean=mean, std=std))
    planes = vision.convert_image_dtype(levels.permute(0, 3, 1, 2), torch.float)
    assert torch.equal(ours, vision.normalize(planes, list(mean), list(std)))
    assert ours.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_normalises_to_the_same_bits() -> None:
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1).repeat(2, 1, 1, 3)
    spec = InputSpec((16, 16), (16,))
    assert torch.equal(normalise(levels.cuda(), spec).cpu(), normalise(levels, spec))
