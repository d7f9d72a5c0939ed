"""Input tensors of the Open Inference Protocol as pictures."""

from __future__ import annotations

import numpy as np
import pytest

from tools.corpus.tiny_network import small_classifier
from torchserve_saliency.protocols.kserve_v2_inputs import read_pictures


@pytest.mark.parametrize("shape", [[-1, 3, 16, 16], [2, -1, 16, 16]])
def test_an_open_side_of_a_binary_tensor_follows_from_its_values(shape: list[int]) -> None:
    values = np.arange(2 * 3 * 16 * 16, dtype=np.float32)
    pictures = read_pictures({"datatype": "FP32", "shape": shape, "data": values}, small_classifier())
    np.testing.assert_array_equal(np.stack([np.asarray(each) for each in pictures]), values.reshape(2, 3, 16, 16))
