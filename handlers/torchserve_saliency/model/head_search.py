"""The search for the heads in the output of a network, and the names of their classes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from torchserve_saliency.errors import ModelError
from torchserve_saliency.model import last_operation as ends
from torchserve_saliency.model.activation import NONE, Columns, find_activation
from torchserve_saliency.model.heads import DEFAULT_NAME, Head, Heads
from torchserve_saliency.model.labels import Labels
from torchserve_saliency.model.logits import OutputKey, class_count, find_logits, logits_keys, take_logits

logger = logging.getLogger(__name__)
_TOLERANCE = 0.01  # relative difference in norm of a picture's logits alone and in a pair
POSITIVE, NEGATIVE = "positive", "negative"


@dataclass(frozen=True)
class HeadOptions:
    """The configuration of heads: the key of the default one, the activation, and the labels.

    `activation` is a name, or a mapping from the names of heads. `labels` are those of the default head. If
    `head_labels` has any, only the outputs named in it are heads.
    """

    key: OutputKey = None
    activation: object = None
    labels: tuple[str, ...] | None = None
    head_labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def find_heads(pair: object, single: object, options: HeadOptions) -> Heads:
    """Return the heads in the output of a network, from its output for two pictures and for one of them.

    Raise ModelError if there are no logits, or if the options name outputs that are none.
    """
    count = None if options.labels is None else len(options.labels)
    keys = _keys(pair, options)
    wanted = keys[0] if options.head_labels and options.key is None else options.key
    found = find_logits(pair, 2, wanted, count)
    # a position in a named tuple is the output of that name
    default = next((key for key in keys if take_logits(pair, key) is take_logits(pair, found)), found)
    keys = keys if default in keys else [default, *keys]
    names = {str(DEFAULT_NAME if key is None else key): key for key in keys}
    _check_names(options.activation, names)
    heads: list[Head] = []
    start = 0
    for name, key in names.items():
        labels = options.head_labels.get(name, options.labels if key == default else None)
        heads.append(_head(pair, key, start, activation_of(options.activation, name), labels))
        start += len(heads[-1].labels)
    reshaped = [take_logits(pair, head.key).dim() != 2 or _changes_shape(pair, single, head) for head in heads]
    return Heads(tuple(heads), heads[[head.key for head in heads].index(default)], any(reshaped))


def _keys(output: object, options: HeadOptions) -> list[OutputKey]:
    """Return the keys of the outputs that are heads; raise ModelError for labels of an output that is none."""
    keys = logits_keys(output, 2)
    if not options.head_labels:
        return keys
    named = {str(DEFAULT_NAME if key is None else key): key for key in keys}
    _check_names(dict(options.head_labels), named)
    return [key for name, key in named.items() if name in options.head_labels]


def _check_names(mapping: object, names: Mapping[str, OutputKey]) -> None:
    """Raise ModelError for a mapping with a key that is not the name of a head."""
    if isinstance(mapping, Mapping) and (unknown := [key for key in mapping if str(key) not in names]):
        raise ModelError(f"there is no head '{unknown[0]}'; this network has {', '.join(names) or 'none'}")


def activation_of(activation: object, name: str) -> object:
    """Return the configured activation of a head, or None."""
    if not isinstance(activation, Mapping):
        return activation
    return {str(key): value for key, value in activation.items()}.get(name)


def _head(output: object, key: OutputKey, start: int, name: object, labels: tuple[str, ...] | None) -> Head:
    """Return a head whose classes begin at column `start`."""
    outputs = class_count(take_logits(output, key), 2)
    assert outputs is not None
    activation = find_activation(name, outputs)
    last = ends.last_operation(take_logits(output, key)) if activation is NONE else ""
    if outputs == 1 and (activation is not NONE or last == ends.SIGMOID):
        labels = binary_names(labels)
    names = class_names(outputs, labels)
    columns = Columns(start, start + len(names), activation)
    return Head(Labels(names), columns, key, outputs, last in (ends.SOFTMAX, ends.SIGMOID))


def binary_names(labels: tuple[str, ...] | None) -> tuple[str, ...]:
    """Return the names of the two classes of a single output: one label names the second, the first is `not` that."""
    if not labels:
        return NEGATIVE, POSITIVE
    return labels if len(labels) > 1 else (f"not {labels[0]}", labels[0])


def class_names(outputs: int, labels: tuple[str, ...] | None) -> tuple[str, ...]:
    """Return the names of the classes of a head; missing names are indices. A single output may have two classes."""
    classes = 2 if outputs == 1 and len(labels or ()) > 1 else outputs
    if labels is not None and len(labels) != classes:
        logger.warning(
            "%d labels for %d classes: classes without a label are named by their index", len(labels), classes
        )
    given = labels or ()
    return (*given, *map(str, range(len(given), classes)))[:classes]


def _changes_shape(pair: object, single: object, head: Head) -> bool:
    """Tell if the logits for one picture are not [1, K].

    Raise ModelError if they are not K values, or not those of the same picture in a pair.
    """
    logits = take_logits(single, head.key)
    if logits.numel() != head.outputs:
        raise ModelError(
            f"the network returns {head.outputs} values per picture for two pictures, but {list(logits.shape)} for one"
        )
    alone, together = logits.detach().flatten(), take_logits(pair, head.key).detach().reshape(2, head.outputs)[0]
    if float((alone - together).norm()) > _TOLERANCE * float(alone.norm()):
        raise ModelError(
            f"the output {list(take_logits(pair, head.key).shape)} for two pictures does not have the logits of the "
            "first in its first row: it is not [pictures, classes], or the logits of a picture depend on the other "
            "pictures in its batch, or something is random in eval mode (dropout left on?)"
        )
    return list(logits.shape) != [1, head.outputs]
