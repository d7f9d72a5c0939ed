"""An unpacked archive to a ready classifier: frozen, folded, and all that is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from saliency.compiled import Compiled
from saliency.compiling import compile_network
from saliency.errors import ModelError, said
from saliency.folding import fold_batch_norms
from saliency.formats import choose_memory_format
from saliency.image import InputSpec
from saliency.labels import Labels
from saliency.layers import Layers, find_layers
from saliency.logits import Choice, find_logits, take_logits
from saliency.memory import row_bytes
from saliency.networks import hookable
from saliency.pace import Pace
from saliency.precision import Precision, choose_precision
from saliency.rules import count_rectifiers
from saliency.transformers import SelfAttention, find_attention
from saliency.unpacked import Limits, read_unpacked


@dataclass(frozen=True)
class Classifier:
    """A network that is ready (in eval mode, frozen, on its device), and all that is known of it."""

    name: str
    version: str
    network: nn.Module
    device: torch.device
    memory_format: torch.memory_format
    labels: Labels
    input: InputSpec
    layers: Layers
    rectifiers: int
    attention: SelfAttention = field(default_factory=SelfAttention)
    logits: Choice = None
    folded: int = 0
    defaults: Mapping[str, object] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    self_check: Mapping[str, object] = field(default_factory=dict)
    precision: Precision = field(default_factory=Precision)
    compiled: Compiled | None = None
    pace: Pace | None = None

    @property
    def hookable(self) -> bool:
        """Tell whether modules and functions of the network can be listened to."""
        return hookable(self.network)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits [n, K] of inputs [n, C, H, W], by the network itself: it may be listened to."""
        return self.precision.applied(lambda rows: take_logits(self.network(rows), self.logits))(x)

    def forward_plain(self, x: Tensor) -> Tensor:
        """Return the logits [n, K] of inputs [n, C, H, W], by the compiled network where there is one."""
        return self.forward(x) if self.compiled is None else self.compiled(x)

    def row(self) -> Tensor:
        """Return an empty row [1, C, H, W] of the network's input."""
        height, width = self.input.size
        dtype = next(self.network.parameters(), torch.empty(0)).dtype
        row = torch.zeros(1, self.input.channels, height, width, device=self.device, dtype=dtype)
        return row.contiguous(memory_format=self.memory_format)

    def row_bytes(self) -> int:
        """Return the bytes that autograd keeps for a row between forward and backward."""
        return row_bytes(self.network, self.forward, self.row())

    def capacity(self) -> int:
        """Return the rows of a batch whose graph fits the archive's memory limit, at least one."""
        rows = self.limits.memory_bytes // max(1, self.row_bytes())
        return max(1, min(self.limits.rows(self.device), rows))

    def bare(self) -> Classifier:
        """Return this classifier uncompiled, and in the precision of its parameters."""
        return replace(self, precision=Precision(), compiled=None)


def load_classifier(
    directory: Path,
    device: torch.device,
    fold: bool = True,
    channels_last: bool = True,
    compile_rows: int | None = None,
) -> Classifier:
    """Return the classifier of an unpacked archive, tried out on `device`; ModelError says why not.

    It is compiled, where the archive asks for that, for batches of up to `compile_rows`, by default the archive's own,
    as far as they fit its memory limit.
    """
    archive = read_unpacked(directory)
    network = frozen(archive.network()).to(device)
    choice, classes = dry_run(network, archive.input, archive.handler.get("logits"))

    def forward(x: Tensor) -> Tensor:
        return take_logits(network(x), choice)

    pair = _noise(archive.input, 2).to(device)
    example = pair[:1]
    heard = hookable(network)
    folded = fold_batch_norms(network, forward, example) if fold and heard else 0
    memory_format = choose_memory_format(network, forward, pair) if channels_last else torch.contiguous_format
    classifier = Classifier(
        name=archive.manifest["modelName"],
        version=str(archive.manifest.get("modelVersion", "1.0")),
        network=network,
        device=device,
        memory_format=memory_format,
        labels=archive.labels(classes),
        input=archive.input,
        layers=find_layers(network, forward, example) if heard else Layers((), None),
        rectifiers=count_rectifiers(forward, example) if heard else 0,
        attention=find_attention(forward, pair) if heard else SelfAttention(),
        logits=choice,
        folded=folded,
        defaults=archive.defaults,
        limits=archive.limits,
        self_check=archive.self_check(),
        precision=choose_precision(archive.precision, forward, pair.to(memory_format=memory_format)),
    )
    rows = archive.batch_size if compile_rows is None else compile_rows
    if archive.compile_options is None or not rows:
        return classifier
    fitting = 1 << (classifier.capacity().bit_length() - 1)  # the largest power of two that is no more
    batch = _noise(archive.input, min(rows, fitting)).to(device, memory_format=memory_format)
    eager = classifier.precision.applied(forward)
    return replace(classifier, compiled=compile_network(eager, archive.compile_options, batch, classifier.precision))


def frozen(network: nn.Module) -> nn.Module:
    """Return the network in eval mode and float32, its parameters asking for no gradient."""
    for parameter in network.parameters():  # a script knows no requires_grad_ of its own
        parameter.requires_grad_(False)
    return network.eval().float()


def dry_run(
    network: nn.Module, spec: InputSpec, wanted: Choice = None, labels: int | None = None
) -> tuple[Choice, int]:
    """Return where the logits stand in what `network` makes of two pictures, and how many classes there are.

    Of several outputs that could be logits, the one with as many classes as there are `labels` is taken. ModelError
    where the network fails or puts out no logits.
    """
    pair = _noise(spec, 2).to(next(network.parameters(), torch.empty(0)).device)
    try:
        with torch.no_grad():
            output: object = network(pair)
    except Exception as error:
        raise ModelError(f"the network fails on an input {list(pair.shape)}: {said(error)}") from error
    choice = find_logits(output, len(pair), wanted, labels)
    return choice, take_logits(output, choice).shape[1]


def _noise(spec: InputSpec, rows: int) -> Tensor:
    """Return seeded noise [rows, C, H, W] of the kind that a network expects to see."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(rows, spec.channels, *spec.size, generator=generator)
