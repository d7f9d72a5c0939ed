"""Pictures as network inputs: uploaded as bytes and normalised on the device, they equal the CPU's tensors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from torchserve_saliency.images.preprocessing import InputSpec, Picture, prepare
from torchserve_saliency.jobs import network_inputs, upload

CPU = torch.device("cpu")
SPECS = (
    InputSpec(size=(24, 32), resize=(32,)),
    InputSpec(size=(20, 20), resize=(20,), mean=(0.5,), std=(0.25,)),
    InputSpec(size=(8, 8), resize=(8, 8), mean=(0.5, 0.4, 0.3, 0.2), std=(0.2, 0.3, 0.4, 0.5)),
)


def pictures(spec: InputSpec) -> list[Picture]:
    random = np.random.default_rng(0)
    return [prepare(Image.fromarray(random.integers(0, 256, (50, 40, 3), np.uint8)), spec) for _ in range(3)]


@pytest.mark.parametrize("spec", SPECS)
def test_bytes_normalised_in_a_batch_equal_the_pictures_tensors(spec: InputSpec) -> None:
    decoded = pictures(spec)
    batch = upload(decoded, CPU)
    assert batch.dtype == torch.float32
    torch.testing.assert_close(batch, torch.stack([picture.tensor for picture in decoded]), rtol=0, atol=0)


def test_each_picture_is_one_row() -> None:
    rows = network_inputs(pictures(SPECS[0]), CPU)
    assert [tuple(row.shape) for row in rows] == [(1, 3, 24, 32)] * 3
    assert network_inputs([], CPU) == []
