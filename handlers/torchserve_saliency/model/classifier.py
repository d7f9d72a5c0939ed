"""A network that is ready to classify and explain, with its description, loaded from an unpacked archive."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from torchserve_saliency.errors import ModelError, error_summary
from torchserve_saliency.images.preprocessing import InputSpec
from torchserve_saliency.model.acceleration.batch_norm_folding import fold_batch_norms
from torchserve_saliency.model.acceleration.compilation import compile_network
from torchserve_saliency.model.acceleration.compiled_network import Compiled
from torchserve_saliency.model.acceleration.memory_format import choose_memory_format
from torchserve_saliency.model.acceleration.memory_per_row import row_bytes
from torchserve_saliency.model.acceleration.precision import Precision, choose_precision
from torchserve_saliency.model.architectures import hookable
from torchserve_saliency.model.archive import Limits, Unpacked, read_unpacked
from torchserve_saliency.model.blocked_gradients import Adaptation, Gradients, find_adaptation
from torchserve_saliency.model.head_search import HeadOptions, find_heads
from torchserve_saliency.model.heads import Heads
from torchserve_saliency.model.labels import Labels
from torchserve_saliency.model.last_operation import recorded
from torchserve_saliency.model.layers import Layers, find_layers
from torchserve_saliency.model.logits import Forward
from torchserve_saliency.model.self_attention import SelfAttention, find_attention
from torchserve_saliency.propagation.relu_rules import count_rectifiers


@dataclass(frozen=True)
class Classifier:
    """A network in eval mode, frozen, on its device, with its description and the settings of its archive."""

    name: str
    version: str
    network: nn.Module
    device: torch.device
    memory_format: torch.memory_format
    heads: Heads
    input: InputSpec
    layers: Layers
    rectifiers: int
    attention: SelfAttention = field(default_factory=SelfAttention)
    folded: int = 0
    defaults: Mapping[str, object] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    self_check: Mapping[str, object] = field(default_factory=dict)
    precision: Precision = field(default_factory=Precision)
    compiled: Compiled | None = None
    adaptation: Adaptation = field(default_factory=Adaptation)

    @property
    def labels(self) -> Labels:
        """Return the labels of the default head."""
        return self.heads.default.labels

    @property
    def hookable(self) -> bool:
        """Tell whether hooks and function modes work on the network."""
        return hookable(self.network)

    @cached_property
    def forward(self) -> Forward:
        """The function from inputs [n, C, H, W] to the logits [n, W] of all heads, in eager mode with hooks and modes.

        It is composed once. In fp32, for an output of logits only and plain gradients, it is the network itself.
        """
        return self.precision.applied(self.adaptation.applied(self.heads.forward(self.network)))

    @cached_property
    def forward_plain(self) -> Forward:
        """The function from inputs to logits for passes without hooks and modes: the compiled one, if any."""
        return self.forward if self.compiled is None else self.compiled

    def row(self) -> Tensor:
        """Return an input of zeros [1, C, H, W], with the dtype, device and memory format of the network."""
        height, width = self.input.size
        dtype = next(self.network.parameters(), torch.empty(0)).dtype
        row = torch.zeros(1, self.input.channels, height, width, device=self.device, dtype=dtype)
        return row.contiguous(memory_format=self.memory_format)

    def row_bytes(self) -> int:
        """Return the bytes that autograd needs per row between the forward and the backward pass."""
        return row_bytes(self.network, self.forward, self.row())

    def capacity(self) -> int:
        """Return the number of rows in a batch whose graph fits the archive's memory limit, at least 1."""
        rows = self.limits.memory_bytes // max(1, self.row_bytes())
        return max(1, min(self.limits.max_rows_on(self.device), rows))

    def bare(self) -> Classifier:
        """Return this classifier without compilation and autocast, so that it computes in its parameters' precision."""
        return replace(self, precision=Precision(), compiled=None)


def load_classifier(
    directory: Path,
    device: torch.device,
    fold: bool = True,
    channels_last: bool = True,
    compile_rows: int | None = None,
) -> Classifier:
    """Return the classifier of an unpacked archive on `device`. Raise ModelError if it cannot be loaded or run.

    If the archive asks for compilation, batches of up to `compile_rows` rows are compiled, by default the archive's
    batch size, but no more than fit its memory limit.
    """
    return prepared_classifier(read_unpacked(directory), device, fold, channels_last, compile_rows)


def prepared_classifier(
    archive: Unpacked,
    device: torch.device,
    fold: bool = True,
    channels_last: bool = True,
    compile_rows: int | None = None,
) -> Classifier:
    """Return the classifier of an archive's network on `device`; see `load_classifier`."""
    network = frozen(archive.network()).to(device)
    heads = dry_run(network, archive.input, archive.head_options)
    forward = heads.forward(network)
    pair = noise(archive.input, 2).to(device)
    example = pair[:1]
    with_hooks = hookable(network)
    adaptation = find_adaptation(forward, example)
    forward = adaptation.applied(forward)
    with_attention = with_hooks and adaptation.gradients is not Gradients.NONE
    folded = fold_batch_norms(network, forward, example) if fold and with_hooks else 0
    memory_format = choose_memory_format(network, forward, pair) if channels_last else torch.contiguous_format
    classifier = Classifier(
        name=archive.manifest["modelName"],
        version=str(archive.manifest.get("modelVersion", "1.0")),
        network=network,
        device=device,
        memory_format=memory_format,
        heads=heads,
        input=archive.input,
        layers=find_layers(network, forward, pair) if with_hooks else Layers((), None),
        rectifiers=count_rectifiers(forward, example) if with_hooks else 0,
        attention=find_attention(forward, pair) if with_attention else SelfAttention(),
        folded=folded,
        defaults=archive.defaults,
        limits=archive.limits,
        self_check=archive.self_check(),
        precision=choose_precision(archive.precision, forward, pair.to(memory_format=memory_format)),
        adaptation=adaptation,
    )
    rows = archive.batch_size if compile_rows is None else compile_rows
    if archive.compile_options is None or not rows or adaptation != Adaptation():
        return classifier
    fitting = 1 << (classifier.capacity().bit_length() - 1)  # the largest power of two that is not above the capacity
    batch = noise(archive.input, min(rows, fitting)).to(device, memory_format=memory_format)
    eager = replace(classifier, heads=heads.rounded()).forward
    compiled = compile_network(eager, archive.compile_options, batch, classifier.precision)
    return replace(classifier, compiled=compiled)


def frozen(network: nn.Module) -> nn.Module:
    """Return the network in eval mode and float32, with parameters that require no gradient."""
    for parameter in network.parameters():  # a ScriptModule has no method requires_grad_
        parameter.requires_grad_(False)
    return network.eval().float()


def dry_run(network: nn.Module, spec: InputSpec, options: HeadOptions | None = None) -> Heads:
    """Return the heads in the output of `network`, found from its outputs for pictures of noise.

    Raise ModelError if the network fails, or returns no logits.
    """
    options = options or HeadOptions()
    with_graph = "none" in str(options.activation)  # the graph tells if a single output is a probability
    pair = noise(spec, 2).to(next(network.parameters(), torch.empty(0)).device)
    outputs: list[object] = []
    for x in (pair, pair[:1].detach()):
        try:
            with recorded(network) if with_graph else torch.no_grad():
                outputs.append(network(x.requires_grad_(with_graph).clone()))
        except Exception as error:
            raise ModelError(f"the network fails on an input {list(x.shape)}: {error_summary(error)}") from error
    return find_heads(outputs[0], outputs[1], options)


def noise(spec: InputSpec, rows: int) -> Tensor:
    """Return seeded noise [rows, C, H, W] in the shape of the network's input."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(rows, spec.channels, *spec.size, generator=generator)
