"""Which part of what a network puts out is the logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from saliency.errors import ModelError

Choice = str | int | None  # a key or attribute, a position, or None where the output itself is the logits
_KNOWN = ("logits", "out", "output", "prediction", "predictions", "scores")


def find_logits(output: object, rows: int, wanted: Choice, classes: int | None = None) -> Choice:
    """Return where the logits [rows, K] stand in `output`: as `wanted`, else found; else ModelError.

    Of several that could be, those of K = `classes` come first, then those with a telling name, then the first.
    """
    parts = _parts(output)
    if wanted is not None:
        if wanted not in parts:
            raise ModelError(f"the network puts out no {wanted!r}, but {_described(parts)}")
        if not _are_logits(parts[wanted], rows):
            raise ModelError(f"output {wanted!r} is {_shape(parts[wanted])}, not float logits [{rows}, classes]")
        return wanted
    found = [key for key, part in parts.items() if _are_logits(part, rows)]
    if not found:
        raise ModelError(f"no output is float logits [{rows}, classes] for {rows} pictures: {_described(parts)}")
    fitting = [key for key in found if classes is not None and _classes(parts[key]) == classes] or found
    return next((key for key in _KNOWN if key in fitting), fitting[0])


def take_logits(output: object, choice: Choice) -> Tensor:
    """Return the logits [n, K] in `output` from where `find_logits` found them."""
    if choice is None:
        taken = output
    elif isinstance(choice, int):
        taken = output[choice]  # type: ignore[index]
    else:
        taken = output[choice] if isinstance(output, Mapping) else getattr(output, choice)
    assert isinstance(taken, Tensor)
    return taken


def _parts(output: object) -> Mapping[Choice, object]:
    """Return the parts of an output by the choice that takes each."""
    if isinstance(output, Tensor):
        return {None: output}
    if isinstance(output, Mapping):
        return dict(output)
    if isinstance(names := getattr(output, "_fields", None), tuple):
        return {name: getattr(output, name) for name in names} | dict(enumerate(output))  # type: ignore[arg-type]
    if isinstance(output, Sequence) and not isinstance(output, str):
        return dict(enumerate(output))
    return {name: value for name, value in getattr(output, "__dict__", {}).items() if isinstance(value, Tensor)}


def _are_logits(part: object, rows: int) -> bool:
    return isinstance(part, Tensor) and part.dim() == 2 and len(part) == rows and part.is_floating_point()


def _classes(part: object) -> int:
    """Return how many classes a part that is logits has."""
    assert isinstance(part, Tensor)
    return int(part.shape[1])


def _described(parts: Mapping[Choice, object]) -> str:
    said = [_shape(part) if key is None else f"{key!r}: {_shape(part)}" for key, part in parts.items()]
    return ", ".join(said[:8]) or "nothing that holds tensors"


def _shape(part: object) -> str:
    if isinstance(part, Tensor):
        return f"{str(part.dtype).removeprefix('torch.')} {list(part.shape)}"
    return type(part).__name__
