"""Inputs of several cases: a small network with its archive, pictures, and the logits that are right for them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torchvision import transforms

from tools.cases import small_network
from tools.cases.case import check
from tools.cases.workshop import Answer, Archived, Workshop

LABELS = ("scab", "rust", "black rot", "healthy")
SIDE = 32
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def seeded_network(seed: int = 1) -> nn.Module:
    """Return a small network with seeded weights."""
    torch.manual_seed(seed)
    return small_network.SmallNetwork().eval()


def archive_small(workshop: Workshop, *flags: object, network: nn.Module | None = None) -> Archived:
    """Archive a small network (`seeded_network()` by default) with the labels LABELS."""
    labels = workshop.write("labels.txt", "\n".join(LABELS))
    weights = workshop.save("small.pt", (network or seeded_network()).state_dict())
    size = ("--input-size", SIDE, "--resize", SIDE, "--labels", labels)
    own = ("--model-file", Path(small_network.__file__), "--serialized-file", weights)
    return workshop.archive(*own, *size, *flags)


def photograph(size: tuple[int, int] = (48, 40), seed: int = 0) -> Image.Image:
    """Return a smooth picture of random colours; `size` is its width and height."""
    colours = np.random.default_rng(seed).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    return Image.fromarray(colours).resize(size, Image.Resampling.BICUBIC)


def file_of(image: Image.Image, name: str = "PNG", **options: Any) -> bytes:
    """Return an image as a file of a format of Pillow."""
    file = io.BytesIO()
    image.save(file, name, **options)
    return file.getvalue()


def preprocessed_by_torchvision(image: Image.Image) -> torch.Tensor:
    """Return the input [1, 3, 32, 32] that torchvision's own transforms make of a picture."""
    steps = [transforms.Resize(SIDE), transforms.CenterCrop(SIDE), transforms.ToTensor()]
    made: torch.Tensor = transforms.Compose([*steps, transforms.Normalize(MEAN, STD)])(image.convert("RGB"))
    return made[None]


def bare_logits(values: torch.Tensor, network: nn.Module | None = None) -> dict[str, float]:
    """Return the logit of each class that the bare network gives an input [1, 3, 32, 32]."""
    with torch.no_grad():
        logits = (network or seeded_network())(values)[0].tolist()
    return dict(zip(LABELS, logits, strict=True))


def check_logits(predictions: list[Mapping[str, Any]], expected: Mapping[str, float], tolerance: float = 1e-4) -> None:
    """Raise AssertionError if the logits of predictions in JSON differ from the expected ones."""
    given = {each["label"]: each["logit"] for each in predictions}
    check(given.keys() == expected.keys(), f"classes {sorted(given)}, not {sorted(expected)}")
    worst = max(abs(given[label] - value) for label, value in expected.items())
    check(worst < tolerance, f"the logits differ by {worst:g} from those of the bare network")


def check_answer(answer: Answer, expected: Mapping[str, float], tolerance: float = 1e-4) -> None:
    """Raise AssertionError if an answer is no explanation with the expected logits."""
    check(answer.status == 200, f"status {answer.status}: {str(answer.body)[:300]}")
    check_logits(answer.body["predictions"], expected, tolerance)


def check_refused(answer: Answer, status: int, *words: str) -> str:
    """Return the message of a refusal; raise AssertionError if the status is another, or a word is not named."""
    check(answer.status == status, f"status {answer.status}, not {status}: {str(answer.body)[:300]}")
    message = str(answer.body["message"])
    missing = [word for word in words if word not in message]
    check(not missing, f"{missing} not named in: {message}")
    return message
