"""A network of any package as plain PyTorch, by `torch.export`.

The graph that `torch.export` records is unflattened to the modules of the network, and each of them is written as a
class. Layers of `torch.nn` stay layers, so that hooks, rules of methods and the names of layers work as before.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from torchserve_saliency.errors import ModelError, error_summary
from torchserve_saliency.model.checkpoint import fill
from torchserve_saliency.model.model_file import network_from_file
from torchserve_saliency_cli.exporting.parts import Part
from torchserve_saliency_cli.exporting.reading import read_part
from torchserve_saliency_cli.exporting.source_code import FUNCTION, source_code
from torchserve_saliency_cli.exporting.values import UnwritableError

_TOLERANCE = 1e-5  # of the largest output
_ADVICE = (
    "archive it by --model-file with --requirements-file instead: the server then needs the package that it comes from"
)


@dataclass(frozen=True)
class Exported:
    """The source of a network, and the network that it builds, with its weights."""

    code: str
    network: nn.Module


def export(network: nn.Module, example: Tensor, description: str) -> Exported:
    """Return the source of a network in evaluation mode, which maps pictures [n, C, H, W] to one tensor.

    `example` has two or more pictures; the source takes any number of them, of this size. `description` becomes the
    docstring of the file. Raise ModelError if the network cannot be exported, or if the result differs from it.
    """
    network.eval().requires_grad_(False)
    try:
        unflattened = _unflattened(network, example)
        with torch.no_grad():
            part, _ = read_part(unflattened, network, [example])
    except UnwritableError as error:
        raise ModelError(f"the network cannot be written out: {error}; {_ADVICE}") from error
    root, code = _root(part), ""
    code = source_code(root, description)
    with TemporaryDirectory(prefix="export-") as folder:
        path = Path(folder) / "network.py"
        path.write_text(code, encoding="utf-8")
        built = network_from_file(path, FUNCTION)
    fill(built, {name: tensor.detach().clone() for name, tensor in root.state()})
    built.eval().requires_grad_(False)
    _check_equal(network, built, example)
    return Exported(code, built)


def _unflattened(network: nn.Module, example: Tensor) -> nn.Module:
    """Return the exported network, unflattened to its modules; raise ModelError if it cannot be exported."""
    shapes = ({0: torch.export.Dim("batch", min=1, max=4096)},)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.export(network, (example,), dynamic_shapes=shapes, strict=False)
            return torch.export.unflatten(program)
    except Exception as error:
        raise ModelError(f"torch.export cannot export the network: {error_summary(error)}; {_ADVICE}") from error


def _root(part: Part) -> Part:
    """Return the network's part: if its method only calls one child, the child's."""
    while len(part.children) == 1 and not part.parameters and not part.buffers:
        ((name, child),) = part.children.items()
        lines = (part.forward or "").splitlines()
        if child.forward is None or len(lines) != 3 or f"self.{name}(" not in lines[1]:
            break
        part = child
    return part


@torch.no_grad()
def _check_equal(network: nn.Module, built: nn.Module, example: Tensor) -> None:
    """Raise ModelError if the outputs of both networks differ, for other numbers of pictures and other pictures."""
    generator = torch.Generator().manual_seed(0)
    for count in (1, 3):
        pictures = torch.randn(count, *example.shape[1:], generator=generator, dtype=example.dtype)
        expected, found = network(pictures), built(pictures)
        gap = float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-12))
        if expected.shape != found.shape or not gap <= _TOLERANCE:
            raise ModelError(f"the network, written out, differs by {gap:.1e} for {count} pictures; {_ADVICE}")
