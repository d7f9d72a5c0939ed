"""A classifier of a network in memory, without an archive."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import nn

from torchserve_saliency.errors import ModelError
from torchserve_saliency.images.preprocessing import InputSpec
from torchserve_saliency.model.archive import Limits, Unpacked
from torchserve_saliency.model.classifier import Classifier, noise, prepared_classifier
from torchserve_saliency.model.head_search import HeadOptions
from torchserve_saliency.model.labels import Labels, read_labels
from torchserve_saliency.model.network_copy import private_copy
from torchserve_saliency.model.output_check import check_activation

LabelSource = Sequence[str] | Mapping[int, str] | str | os.PathLike[str]
"""The names of the classes: a list, a mapping from index to name, or the path of a file with labels."""

NO_LIMITS = Limits(max_pixels=1 << 30, max_response_bytes=1 << 40, max_targets=1 << 20, max_forwards=1 << 40)
RATIO = 256 / 224  # of the resize to the size, as usual for ImageNet, and as in an archive


@dataclass(frozen=True)
class NetworkInMemory(Unpacked):
    """A network with its description, in place of the unpacked archive that it could be in."""

    module: nn.Module
    heads: HeadOptions

    @property
    def limits(self) -> Limits:
        return NO_LIMITS

    @property
    def head_options(self) -> HeadOptions:
        return self.heads

    def network(self) -> nn.Module:
        return self.module

    def self_check(self) -> Mapping[str, object]:
        return {}


def classifier_in_memory(
    network: nn.Module,
    labels: LabelSource | None,
    spec: InputSpec,
    activation: object,
    logits: str | int | None,
    device: str | torch.device | None,
) -> Classifier:
    """Return the classifier of a copy of a network, on its own device if `device` is None.

    Raise TypeError if it is no network, and ModelError if it cannot be copied or run, or does not fit the labels.
    """
    if not isinstance(network, nn.Module):
        raise TypeError(f"the network must be a torch.nn.Module, not {_type_name(network)}")
    _check_channels(network, spec)
    parameter = next(network.parameters(), torch.empty(0))
    example = noise(spec, 1).to(parameter.device, parameter.dtype if parameter.is_floating_point() else torch.float32)
    names = None if labels is None else label_names(labels)
    archive = NetworkInMemory(
        directory=Path(),
        manifest={"modelName": type(network).__name__},
        config={},
        handler={"input": {field.name: getattr(spec, field.name) for field in fields(spec)}},
        module=private_copy(network, example),
        heads=HeadOptions(key=logits, activation=activation, labels=names),
    )
    classifier = prepared_classifier(archive, torch.device(device or parameter.device))
    if names is not None:
        _check_labels(names, classifier.labels)
    for remark in check_activation(classifier.network, classifier.heads, spec, activation):
        warnings.warn(remark, stacklevel=3)
    return classifier


def input_spec(
    size: int | Sequence[int],
    resize: int | Sequence[int] | None,
    mean: float | Sequence[float] | None,
    std: float | Sequence[float] | None,
    others: Mapping[str, Any],
) -> InputSpec:
    """Return the preprocessing; `size` is the side of a square, or height and width.

    If `resize` is None, the shorter side of a picture is resized to 256/224 of the size. If mean and std are None, they
    are ImageNet's; a single number is for one channel. `others` are further fields of InputSpec. Raise TypeError for an
    unknown name, ModelError for values that are invalid or contradict each other.
    """
    known = {field.name for field in fields(InputSpec)}
    if unknown := sorted(set(others) - known):
        raise TypeError(f"Explainer.of has no argument {unknown[0]!r}; of the preprocessing, it has {', '.join(known)}")
    height, width = (size, size) if isinstance(size, int) else map(int, size)
    sides = round(RATIO * max(height, width)) if resize is None else resize
    values: dict[str, Any] = {
        "size": (height, width),
        "resize": (sides,) if isinstance(sides, int) else tuple(map(int, sides)),
        **({} if mean is None else {"mean": _per_channel(mean)}),
        **({} if std is None else {"std": _per_channel(std)}),
        **others,
    }
    try:
        return InputSpec(**values)
    except (TypeError, ValueError) as error:
        raise ModelError(f"the preprocessing is invalid: {error}") from error


def _per_channel(values: float | Sequence[float]) -> tuple[float, ...]:
    """Return one value per channel."""
    return (float(values),) if isinstance(values, int | float) else tuple(map(float, values))


def label_names(labels: LabelSource) -> tuple[str, ...]:
    """Return the names of the classes in the order of their indices; raise ModelError if they are not valid."""
    if isinstance(labels, str | os.PathLike):
        try:
            return read_labels(Path(labels))
        except (OSError, ValueError) as error:
            raise ModelError(f"labels is the path of a file, or a list of names: {error}") from error
    if isinstance(labels, Mapping):
        by_index = {int(index): name for index, name in labels.items()}
        if sorted(by_index) != list(range(len(by_index))):
            raise ModelError(f"the labels must have the indices 0 to {len(by_index) - 1}, each once")
        labels = [by_index[index] for index in range(len(by_index))]
    return tuple(map(str, labels))


def _check_labels(names: Sequence[str], labels: Labels) -> None:
    """Raise ModelError if there are more or fewer labels than classes; one label may name the second of two classes."""
    if len(names) != len(labels) and not (len(names) == 1 and len(labels) == 2):
        raise ModelError(f"there are {len(names)} labels, but the network has {len(labels)} classes")


def _check_channels(network: nn.Module, spec: InputSpec) -> None:
    """Raise ModelError if the first convolution takes another number of channels than mean and std have values."""
    first = next((module for module in network.modules() if isinstance(module, nn.Conv2d)), None)
    if first is not None and first.in_channels != spec.channels:
        raise ModelError(
            f"the network's first convolution takes {first.in_channels} channels, but mean and std are of "
            f"{spec.channels}: give one value per channel"
        )


def _type_name(value: object) -> str:
    """Return the name of a value's type; a class itself is named as such."""
    return f"the class {value.__name__}: make an instance of it" if isinstance(value, type) else type(value).__name__
