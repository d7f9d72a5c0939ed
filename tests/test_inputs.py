"""Pictures to rows: sent as bytes and normalised on the device, they are what the CPU makes of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from saliency.image import InputSpec, Picture, prepare
from saliency.inputs import network_inputs, uploaded

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
def test_bytes_normalised_in_a_batch_are_the_tensors_made_one_by_one(spec: InputSpec) -> None:
    shown = pictures(spec)
    batch = uploaded(shown, CPU)
    assert batch.dtype == torch.float32
    torch.testing.assert_close(batch, torch.stack([picture.tensor for picture in shown]), rtol=0, atol=0)


def test_each_picture_is_a_row_and_none_is_none() -> None:
    rows = network_inputs(pictures(SPECS[0]), CPU)
    assert [tuple(row.shape) for row in rows] == [(1, 3, 24, 32)] * 3
    assert network_inputs([], CPU) == []
