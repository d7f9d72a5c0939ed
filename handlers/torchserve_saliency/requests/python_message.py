"""The message of a request that a Python program makes: its picture, and its options as JSON has them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
from torch import Tensor

from torchserve_saliency.errors import RequestError, bad_option, unreadable
from torchserve_saliency.images.input_spec import InputSpec
from torchserve_saliency.images.picture_kinds import NetworkInput, read_kind
from torchserve_saliency.requests.message import Message


def python_message(picture: object, options: Mapping[str, object], spec: InputSpec) -> Message:
    """Return the message for a picture, or without one if it is None.

    Raise RequestError or OSError if the picture cannot be read.
    """
    fields = plain_options(options)
    if picture is not None:
        data = read_kind(picture)
        if isinstance(data, np.ndarray):
            _check_input(data, spec)
        fields["data"] = data
    return Message(fields, explain=True)


def message_or_error(picture: object, options: Mapping[str, object], spec: InputSpec) -> Message | RequestError:
    """Return the message for a picture, or the error for one that cannot be read."""
    try:
        return python_message(picture, options, spec)
    except RequestError as error:
        return error
    except OSError as error:
        return unreadable(error)


def _check_input(values: NetworkInput, spec: InputSpec) -> None:
    """Raise RequestError 400 for a float tensor of another shape than the network's input.

    Warn if its values look like pixels, because they are not normalised.
    """
    expected = (spec.channels, *spec.size)
    if values.shape != expected:
        message = (
            f"a float tensor is the network's input as it is, {list(expected)}, not {list(values.shape)}; a uint8 "
            "tensor, an array or a PIL.Image is a picture, and is resized"
        )
        raise bad_option("data", message)
    if any(spec.unit_mean) and float(values.min()) >= 0 and float(values.max()) <= 1:
        warnings.warn(
            "all values of this tensor are between 0 and 1, as if it were not normalised: a float tensor is not "
            "preprocessed; use a uint8 tensor or a PIL.Image for a picture",
            stacklevel=5,
        )


def plain_options(options: Mapping[str, object]) -> dict[str, object]:
    """Return options with values as JSON has them. An option that is None is left out, as if it were not given."""
    return {name: _plain(value) for name, value in options.items() if value is not None}


def _plain(value: object) -> object:
    """Return a number of numpy, an array, a tensor, a tuple or a set as numbers and lists; other values unchanged."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray | Tensor):
        return value.tolist()
    if isinstance(value, list | tuple | range | set | frozenset):
        return [_plain(each) for each in value]
    return value
