"""Every normalisation of levels, and its inverse: pictures of inputs, and black and white baselines."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from torchserve_saliency.images.preprocessing import InputSpec, prepare
from torchserve_saliency.methods.base import to_picture
from torchserve_saliency.methods.baselines import baseline

UNUSUAL = (
    {"channel_order": "bgr", "mean": (0.0, 0.1, 0.2), "std": (1.0, 0.5, 0.4), "normalisation": "scaled"},
    {"rescale": 1.0, "mean": (100.0, 110.0, 120.0), "std": (50.0, 60.0, 70.0), "normalisation": "fused"},
    {"rescale": 1 / 127.5, "offset": 1.0, "mean": (0.1, 0.0, 0.2), "extra_std": (0.5, 0.6, 0.7)},
)


@pytest.mark.parametrize("fields", UNUSUAL)
def test_black_white_and_pictures_of_inputs_follow_every_normalisation(fields: dict[str, Any]) -> None:
    spec = InputSpec((8, 9), (8, 9), **fields)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 9, 3), np.uint8))
    found = prepare(image, spec)
    assert found.shown(found.tensor.numpy()).tobytes() == image.tobytes()
    for name, colour in (("black", 0), ("white", 255)):
        flat = prepare(Image.new("RGB", (9, 8), (colour,) * 3), spec).tensor[None]
        torch.testing.assert_close(baseline(name, flat, spec), flat, rtol=1e-5, atol=1e-5)
    assert torch.allclose(to_picture(SimpleNamespace(x=found.tensor[None], spec=spec)), rgb(image), atol=1e-5)  # type: ignore[arg-type]


def rgb(image: Image.Image) -> torch.Tensor:
    """Return an image as float32 [3, H, W] in 0-1."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255
