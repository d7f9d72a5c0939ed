"""Options of the image processors of transformers, and their comparison with ours to the last bit."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

import torch
from PIL import Image

from tests.archives import parsed_arguments
from torchserve_saliency.images.preprocessing import InputSpec, prepare
from torchserve_saliency_cli.archiving.arguments import ArchiveArguments

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


def flags(*words: str) -> ArchiveArguments:
    return parsed_arguments("--arch", "hf:x", *words)


def processor_of(transformers: ModuleType, name: str, options: Mapping[str, object]) -> Any:
    return getattr(transformers, f"{name}ImageProcessor")(**options)


def assert_equal(processor: Any, spec: InputSpec, images: list[Image.Image]) -> None:
    """Compare with the processor as the pipeline calls it."""
    from transformers.image_utils import load_image

    for image in images:
        expected = processor(images=load_image(image), return_tensors="pt")["pixel_values"][0].to(torch.float32)
        assert torch.equal(prepare(image, spec).tensor, expected), (image.mode, image.size)
