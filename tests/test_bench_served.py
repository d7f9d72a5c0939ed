"""What the benchmark holds the servers' answers against."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torchvision import transforms

from saliency.image import InputSpec, decode
from scripts.bench.served import _likely, unscaled

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def picture() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 500, 3), np.uint8)).save(file, "JPEG")
    return file.getvalue()


def test_a_picture_that_is_not_scaled_is_the_same_input_to_both_handlers() -> None:
    alike = unscaled(picture())
    pipeline = [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor()]
    theirs = transforms.Compose([*pipeline, transforms.Normalize(MEAN, STD)])(Image.open(io.BytesIO(alike)))
    torch.testing.assert_close(decode(alike, InputSpec(mean=MEAN, std=STD), 10**6).tensor, theirs, rtol=0, atol=1e-6)


def test_predictions_agree_by_class_and_probability() -> None:
    assert _likely({"owl": 0.9, "cat": 0.1}, {"cat": 0.1002, "owl": 0.8998})
    assert not _likely({"owl": 0.9}, {"cat": 0.9})
    assert not _likely({"owl": 0.9}, {"owl": 0.89})
    assert not _likely({"owl": 0.25, "cat": 0.2}, {"cat": 0.25, "owl": 0.2})


def test_where_every_class_is_as_likely_as_the_others_the_probability_decides() -> None:
    theirs = {"owl": 0.001, "cat": 0.001}
    assert _likely({"cat": 0.001, "dog": 0.001}, theirs)
    assert not _likely({"cat": 0.01}, theirs)
