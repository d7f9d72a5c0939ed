"""A network of one's own as a Python file, its archive, and the answers that are right for it."""

from __future__ import annotations

import io
import runpy
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torchvision import transforms

from tools.cases.case import check
from tools.cases.inputs import file_of, photograph
from tools.cases.workshop import Archived, InProcess, Workshop

SIDE = 16
MEAN, STD = 0.5, 0.25
INPUT = ("--input-size", SIDE, "--resize", SIDE, "--mean", f"{MEAN},{MEAN},{MEAN}", "--std", f"{STD},{STD},{STD}")
HEAD = "import torch\nfrom torch import nn\n\n"
# a convolution, a rectifier, the mean over the grid, and a linear head; __init__ has the argument `classes`
NET = """
class Net(nn.Module):
    def __init__(self, classes=3):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.head = nn.Linear(6, classes)

    def features(self, x):
        return self.conv(x).relu()

    def forward(self, x):
        return self.head(self.features(x).mean((2, 3)))
"""
TOLERANCE = 1e-4


def defined(code: str, name: str = "Net") -> Any:
    """Return the class or function `name` of a file's code, run as Python runs a script."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "plain.py"
        file.write_text(HEAD + code, encoding="utf-8")
        return runpy.run_path(str(file))[name]


def seeded(maker: Any, *arguments: object) -> nn.Module:
    """Return the network that a class or function makes, with seeded weights."""
    torch.manual_seed(0)
    made: nn.Module = maker(*arguments)
    return made.eval()


def archive_own(workshop: Workshop, code: str, weights: Mapping[str, Tensor], *flags: object) -> Archived:
    """Archive the network in `code` with its weights."""
    files = ("--model-file", workshop.write("net.py", HEAD + code), "--weights", workshop.save("net.pt", weights))
    return workshop.archive(*files, *INPUT, *flags)


def network_input(image: Image.Image) -> Tensor:
    """Return the input [1, 3, 16, 16] that torchvision's own transforms make of a picture."""
    steps = [transforms.Resize(SIDE), transforms.CenterCrop(SIDE), transforms.ToTensor()]
    made: Tensor = transforms.Compose([*steps, transforms.Normalize([MEAN] * 3, [STD] * 3)])(image)
    return made[None]


def slope(network: Any, values: Tensor, index: int) -> NDArray[np.float32]:
    """Return the gradient [C, H, W] of one value of the output [1, K], by plain autograd."""
    x = values.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(network(x)[0, index], x)
    found: NDArray[np.float32] = gradient[0].numpy()
    return found


def array_of(server: InProcess, picture: bytes, **fields: object) -> NDArray[np.float32]:
    """Return the map of a picture as the exact array that `format=npy` answers."""
    answer = server.ask({"data": picture, "format": "npy", **fields})
    check(answer.status == 200, f"status {answer.status}: {str(answer.body)[:300]}")
    found: NDArray[np.float32] = np.load(io.BytesIO(answer.body))[0]
    return found


def check_near(found: NDArray[Any], expected: NDArray[Any], subject: str, tolerance: float = TOLERANCE) -> None:
    """Raise AssertionError if two arrays differ by more than `tolerance` in relative norm."""
    check(found.shape == expected.shape, f"{subject} has the shape {found.shape}, not {expected.shape}")
    error = float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
    check(error < tolerance, f"{subject} differs by {error:g} in norm")


def check_right(server: InProcess, network: Any, **fields: object) -> list[float]:
    """Check the logits and a gradient of a picture against those of a network [1, K]; return the logits."""
    image = photograph()
    values = network_input(image)
    answer = server.ask({"data": file_of(image), "top_k": 100, **fields})
    check(answer.status == 200, f"status {answer.status}: {str(answer.body)[:300]}")
    by_index = {each["index"]: each["logit"] for each in answer.body["predictions"]}
    with torch.no_grad():
        expected: list[float] = network(values)[0].tolist()
    check_near(np.array([by_index[i] for i in range(len(expected))]), np.array(expected), "the logits")
    for index in {0, len(expected) - 1}:
        found = array_of(server, file_of(image), target=index, reduce="none", **fields)
        check_near(found, slope(network, values, index), f"the gradient of class {index}")
    return expected


def check_not_archived(archived: Archived, *words: str) -> str:
    """Return the message of a refusal; raise AssertionError if the archive was written, or a word is not named."""
    check(archived.status != 0, "it was archived")
    check("Traceback" not in archived.output, f"a traceback: {archived.output[-500:]}")
    check(not archived.path.exists(), "an archive was left")
    last: str = archived.output.strip().splitlines()[-1]
    missing = [word for word in words if word not in archived.output]
    check(not missing, f"{missing} not named in: {archived.output[-500:]}")
    return last.partition(": ")[2]


def names(files: Sequence[Path]) -> str:
    """Return paths as the flag --extra-files takes them."""
    return ",".join(map(str, files))
