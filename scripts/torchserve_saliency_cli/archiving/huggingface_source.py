"""Image classifiers of Hugging Face's `transformers`, from a folder or from the hub."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from torchserve_saliency.images.preprocessing import InputSpec
from torchserve_saliency_cli.archiving.arguments import ArchiveArguments, UsageError
from torchserve_saliency_cli.archiving.building import Source
from torchserve_saliency_cli.archiving.exported_source import exported_source, optional_package, own_input
from torchserve_saliency_cli.archiving.huggingface_input import huggingface_input
from torchserve_saliency_cli.archiving.huggingface_weights import (
    HUGGING_FACE,
    first_line,
    loaded,
    network_with_weights,
)
from torchserve_saliency_cli.archiving.preprocessing import changed_input
from torchserve_saliency_cli.archiving.zero_shot import zero_shot_network

_UNNAMED = re.compile(r"LABEL_\d+")  # the name of a class that has none
_ACTIVATIONS = {"multi_label_classification": "sigmoid", "regression": "none"}  # those of the pipeline, by problem type
_TWO_TOWERS = ("clip", "siglip")


@dataclass(frozen=True)
class _Found:
    """A network that maps pictures to one tensor of logits, the name of its class, its labels and its activation."""

    network: nn.Module
    name: str
    labels: tuple[str, ...] | None
    activation: str | None


def huggingface_source(args: ArchiveArguments, arch: str) -> Source:
    """Return an image classifier, or an image and text network with the names of --labels as texts.

    Raise UsageError if the network is not there, is of another kind, or has no trained classifier.
    """
    transformers = optional_package("transformers", arch)
    place = arch.removeprefix(HUGGING_FACE)
    config = loaded(lambda: transformers.AutoConfig.from_pretrained(place), arch, "config.json")
    _check_arguments(args)
    spec = _input(transformers, place, args)
    is_classifier = any("ImageClassification" in name for name in config.architectures or ())
    if config.model_type in _TWO_TOWERS and not is_classifier:
        found = _zero_shot(transformers, config, args, arch)
    else:
        found = _classifier(transformers, config, args, arch)
    origin = f"{_short(arch)} ({found.name} of transformers {transformers.__version__})"
    return exported_source(found.network, spec, found.labels, origin, found.activation)


def _short(arch: str) -> str:
    """Return the network's name without the path of its folder."""
    place = Path(arch.removeprefix(HUGGING_FACE))
    return f"{HUGGING_FACE}{place.resolve().name}" if place.is_dir() else arch


class _Logits(nn.Module):
    """A classifier of transformers that takes a tensor and returns one."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(pixel_values=x).logits
        return logits


def _classifier(transformers: Any, config: Any, args: ArchiveArguments, arch: str) -> _Found:
    """Return the classifier, its labels, and the activation that its configuration means."""
    auto = transformers.AutoModelForImageClassification
    if args.num_classes is not None:
        config.num_labels = args.num_classes
    network = network_with_weights(auto, config, args, arch)
    labels = [str(config.id2label[index]) for index in range(config.num_labels)]
    named = args.labels or (None if all(map(_UNNAMED.fullmatch, labels)) else tuple(labels))
    return _Found(_Logits(network), type(network).__name__, named, _ACTIVATIONS.get(config.problem_type))


def _zero_shot(transformers: Any, config: Any, args: ArchiveArguments, arch: str) -> _Found:
    """Return the network that compares a picture with the texts of --labels."""
    if args.labels is None:
        raise UsageError(f"{arch} compares pictures with texts: --labels FILE gives the texts, one per class")
    network = network_with_weights(transformers.AutoModelForZeroShotImageClassification, config, args, arch)
    place = arch.removeprefix(HUGGING_FACE)
    tokenizer = loaded(lambda: transformers.AutoTokenizer.from_pretrained(place), arch, "the tokenizer")
    siglip = "siglip" in config.model_type
    texts = [args.template.format(label) for label in args.labels]
    padding = {"padding": "max_length", "max_length": 64, "truncation": True} if siglip else {"padding": True}
    tokens = tokenizer(texts, return_tensors="pt", **padding)
    compared = zero_shot_network(network, dict(tokens))
    return _Found(compared, type(network).__name__, args.labels, "sigmoid" if siglip else "softmax")


def _input(transformers: Any, place: str, args: ArchiveArguments) -> InputSpec:
    """Return the preprocessing of the folder, or that of the command line if it gives all of it."""
    try:
        processor = transformers.AutoImageProcessor.from_pretrained(place)
    except (OSError, ValueError) as error:
        if args.input_size and args.mean and args.std:
            return own_input(args)
        raise UsageError(
            f"hf:{place} has no preprocessor_config.json that can be read ({first_line(error)}): give --input-size, "
            "--mean and --std"
        ) from error
    return changed_input(huggingface_input(processor, args), args)


def _check_arguments(args: ArchiveArguments) -> None:
    if args.arguments:
        raise UsageError("--arguments do not apply to hf:, whose config.json has them")
