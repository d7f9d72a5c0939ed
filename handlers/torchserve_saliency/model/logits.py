"""The logits within the output of a network: their keys, and their tensors as one row per picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from torchserve_saliency.errors import ModelError

Forward = Callable[[Tensor], Tensor]  # inputs [n, C, H, W] to logits [n, W]
OutputKey = str | int | None  # a key or attribute, a position, or None if the output itself is the logits
_KNOWN = ("logits", "out", "output", "prediction", "predictions", "scores")
# outputs that have one row per picture, but are no logits unless they are asked for
_NO_LOGITS = frozenset({"embedding", "embeddings", "feature", "features", "hidden", "latent", "loss", "pooler_output"})


def find_logits(output: object, rows: int, wanted: OutputKey, classes: int | None = None) -> OutputKey:
    """Return the key of the logits in `output`, for `rows` pictures: `wanted`, or by default the most likely one.

    Of several candidates, prefer those [rows, K] with K = `classes`, then those with a common name, then the first.
    Raise ModelError if there are no logits.
    """
    parts = _parts(output)
    if wanted is not None:
        if wanted not in parts:
            raise ModelError(f"the network has no output {wanted!r}; it has {_description(parts)}")
        if class_count(parts[wanted], rows) is None:
            raise ModelError(
                f"output {wanted!r} is {_type_and_shape(parts[wanted])}, not float logits [{rows}, classes]"
            )
        return wanted
    found = logits_keys(output, rows) or [key for key in parts if class_count(parts[key], rows) is not None]
    if not found:
        raise ModelError(
            f"no output is float logits [{rows}, classes] for {rows} pictures; the network has {_description(parts)}"
        )
    matrices = [key for key in found if _is_matrix(parts[key])] or found
    fitting = [key for key in found if classes is not None and class_count(parts[key], rows) == classes] or matrices
    return next((key for key in _KNOWN if key in fitting), fitting[0])


def logits_keys(output: object, rows: int) -> list[OutputKey]:
    """Return the keys of all parts of an output that may be logits, in their order.

    Tensors [rows, K, 1, …] are among them only if there are no tensors [rows, K] and [rows].
    """
    parts = _parts(output)
    found = [key for key, part in parts.items() if class_count(part, rows) is not None and key not in _NO_LOGITS]
    flat = [key for key in found if _dimensions(parts[key]) <= 2] or found
    named = {id(parts[key]) for key in flat if isinstance(key, str)}  # a named tuple has positions, too
    return [key for key in flat if isinstance(key, str) or id(parts[key]) not in named]


def class_count(part: object, rows: int) -> int | None:
    """Return K for float logits [rows, K], also as [rows] for K = 1 or with further dimensions of size 1; else None."""
    if not (isinstance(part, Tensor) and part.is_floating_point() and part.dim() > 0 and len(part) == rows):
        return None
    sizes = part.shape[1:]
    return math.prod(sizes) if sum(size != 1 for size in sizes) <= 1 and 0 not in sizes else None


def take_logits(output: object, key: OutputKey) -> Tensor:
    """Return the logits of `output`, for a key from `find_logits`, in the shape in which the network returns them."""
    if key is None:
        taken = output
    elif isinstance(key, int):
        taken = output[key]  # type: ignore[index]
    else:
        taken = output[key] if isinstance(output, Mapping) else getattr(output, key)
    assert isinstance(taken, Tensor)
    return taken


def _parts(output: object) -> Mapping[OutputKey, object]:
    """Return the parts of an output by their keys."""
    if isinstance(output, Tensor):
        return {None: output}
    if isinstance(output, Mapping):
        return dict(output)
    if isinstance(names := getattr(output, "_fields", None), tuple):
        return {name: getattr(output, name) for name in names} | dict(enumerate(output))  # type: ignore[arg-type]
    if isinstance(output, Sequence) and not isinstance(output, str):
        return dict(enumerate(output))
    return {name: value for name, value in getattr(output, "__dict__", {}).items() if isinstance(value, Tensor)}


def _is_matrix(part: object) -> bool:
    return _dimensions(part) == 2


def _dimensions(part: object) -> int:
    return part.dim() if isinstance(part, Tensor) else 0


def _description(parts: Mapping[OutputKey, object]) -> str:
    """Return a list of the parts with their types and shapes, for error messages."""
    shown = [
        _type_and_shape(part) if key is None else f"{key!r}: {_type_and_shape(part)}" for key, part in parts.items()
    ]
    return ", ".join(shown[:8]) or "no tensor in its output"


def _type_and_shape(part: object) -> str:
    if isinstance(part, Tensor):
        return f"{str(part.dtype).removeprefix('torch.')} {list(part.shape)}"
    return type(part).__name__
