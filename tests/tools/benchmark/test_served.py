"""The checks of the servers' answers."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torchvision import transforms

from tools.benchmark.served import _same_prediction, unscaled_png
from torchserve_saliency.images.preprocessing import InputSpec, decode

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def picture() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 500, 3), np.uint8)).save(file, "JPEG")
    return file.getvalue()


def test_an_unscaled_picture_is_the_same_input_for_both_handlers() -> None:
    png = unscaled_png(picture())
    pipeline = [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor()]
    theirs = transforms.Compose([*pipeline, transforms.Normalize(MEAN, STD)])(Image.open(io.BytesIO(png)))
    torch.testing.assert_close(decode(png, InputSpec(mean=MEAN, std=STD), 10**6).tensor, theirs, rtol=0, atol=1e-6)


def test_predictions_are_the_same_if_class_and_probability_agree() -> None:
    assert _same_prediction({"owl": 0.9, "cat": 0.1}, {"cat": 0.1002, "owl": 0.8998})
    assert not _same_prediction({"owl": 0.9}, {"cat": 0.9})
    assert not _same_prediction({"owl": 0.9}, {"owl": 0.89})
    assert not _same_prediction({"owl": 0.25, "cat": 0.2}, {"cat": 0.25, "owl": 0.2})


def test_only_the_probability_is_compared_if_the_best_classes_are_tied() -> None:
    theirs = {"owl": 0.001, "cat": 0.001}
    assert _same_prediction({"cat": 0.001, "dog": 0.001}, theirs)
    assert not _same_prediction({"cat": 0.01}, theirs)
