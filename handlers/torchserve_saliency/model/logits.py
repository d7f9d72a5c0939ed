"""The logits within the output of a network, and the forward function that returns them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor, nn

from torchserve_saliency.errors import ModelError

Forward = Callable[[Tensor], Tensor]  # inputs [n, C, H, W] to logits [n, K]
OutputKey = str | int | None  # a key or attribute, a position, or None if the output itself is the logits
_KNOWN = ("logits", "out", "output", "prediction", "predictions", "scores")


def logits_forward(network: nn.Module, key: OutputKey) -> Forward:
    """Return the function from a network's inputs to its logits: for the key None, the network itself."""
    if key is None:
        return network
    return lambda x: take_logits(network(x), key)


def find_logits(output: object, rows: int, wanted: OutputKey, classes: int | None = None) -> OutputKey:
    """Return the key of the logits [rows, K] in `output`: `wanted`, or by default the most likely one.

    Of several candidates, prefer those with K = `classes`, then those with a common name, then the first. Raise
    ModelError if there are no logits.
    """
    parts = _parts(output)
    if wanted is not None:
        if wanted not in parts:
            raise ModelError(f"the network has no output {wanted!r}; it has {_description(parts)}")
        if not _are_logits(parts[wanted], rows):
            raise ModelError(
                f"output {wanted!r} is {_type_and_shape(parts[wanted])}, not float logits [{rows}, classes]"
            )
        return wanted
    found = [key for key, part in parts.items() if _are_logits(part, rows)]
    if not found:
        raise ModelError(
            f"no output is float logits [{rows}, classes] for {rows} pictures; the network has {_description(parts)}"
        )
    fitting = [key for key in found if classes is not None and _class_count(parts[key]) == classes] or found
    return next((key for key in _KNOWN if key in fitting), fitting[0])


def take_logits(output: object, key: OutputKey) -> Tensor:
    """Return the logits [n, K] of `output`, for a key from `find_logits`."""
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


def _are_logits(part: object, rows: int) -> bool:
    return isinstance(part, Tensor) and part.dim() == 2 and len(part) == rows and part.is_floating_point()


def _class_count(logits: object) -> int:
    assert isinstance(logits, Tensor)
    return int(logits.shape[1])


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
