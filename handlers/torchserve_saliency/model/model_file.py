"""The network in a user's Python file: a class or a function, named, or found by its weights and its use."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import get_type_hints

from torch import nn

from torchserve_saliency.errors import ModelError
from torchserve_saliency.model.building import build, suggestion
from torchserve_saliency.model.labels import near_matches
from torchserve_saliency.model.only_network import only_network
from torchserve_saliency.model.private_modules import import_privately, line_in

Maker = Callable[..., object]  # a class or a function, called with the arguments of the network
Makers = Mapping[str, Maker]
# a function without annotation is called only if its name says that it makes a network
_MAKING = re.compile(r"model|net|classifier|build|make|create", re.IGNORECASE)


def network_from_file(
    path: Path,
    name: str | None = None,
    arguments: Mapping[str, object] | None = None,
    files: Sequence[Path] = (),
    fits: Callable[[nn.Module], int] | None = None,
) -> nn.Module:
    """Return the network in a Python file; see `find_in_file`."""
    return find_in_file(path, name, arguments, files, fits)[1]


def find_in_file(
    path: Path,
    name: str | None = None,
    arguments: Mapping[str, object] | None = None,
    files: Sequence[Path] = (),
    fits: Callable[[nn.Module], int] | None = None,
) -> tuple[str, nn.Module]:
    """Return the name of a class, function or variable in a Python file, and the network that it makes.

    Without a `name`, it is the class that `arguments` are enough for. Of several, it is the one with the most weights,
    and no part of another; functions are tried if no class fits. `fits` returns the number of a network's tensors that
    are in the weights, 0 if some are not. The file can import `files`. Raise ModelError if the file cannot be imported,
    or if it is not clear which network is meant.
    """
    module = import_privately(path, files)
    given = arguments or {}
    if name is not None:
        return name, _named(module, name, given, path, files)
    first: Mapping[str, nn.Module] = {}
    failure: ModelError | None = None
    for makers in _groups(module, given):
        networks, failures = _built(makers, given, path, files)
        failure = failure or next(iter(failures), None)
        scores = {each: 1 if fits is None else fits(network) for each, network in networks.items()}
        best = max(scores.values(), default=0)
        if best and (fits or not failures):
            return only_network({each: networks[each] for each in scores if scores[each] == best}, path)
        first = first or networks
    if failure:
        raise failure
    if first:
        return only_network(first, path)
    raise ModelError(_nothing_found(module, path, given))


def _named(
    module: ModuleType, name: str, arguments: Mapping[str, object], path: Path, files: Sequence[Path]
) -> nn.Module:
    """Return the network that a class, a function or a variable of the file makes or is; `Net.small` is a method."""
    try:
        found: object = attrgetter(name)(module)
    except AttributeError:
        found = None
    if isinstance(found, nn.Module):
        if arguments:
            raise ModelError(f"--arguments: '{name}' in '{path.name}' is a network already, and takes no arguments")
        return found
    if not callable(found):
        near = near_matches(name, [each for each, value in vars(module).items() if callable(value)])
        raise ModelError(f"--class: '{path.name}' has no class and no function '{name}'{suggestion(near)}")
    if why := _mismatch(found, arguments):
        raise ModelError(
            f"'{name}' cannot be built from the arguments {dict(arguments)}: {why}; --arguments sets them, and it "
            f"takes {_signature(found)}"
        )
    return _build(found, name, arguments, path, files)


def _build(maker: Maker, name: str, arguments: Mapping[str, object], path: Path, files: Sequence[Path]) -> nn.Module:
    """Return the network that a class or a function makes; raise ModelError with the line that failed."""
    try:
        return build(maker, None, arguments)
    except ModelError as error:
        line = line_in(error.__cause__, path, files) if error.__cause__ else ""
        raise ModelError(f"{error}{line and f' ({line})'}") from error.__cause__


def _groups(module: ModuleType, arguments: Mapping[str, object]) -> Iterator[Makers]:
    """Yield the classes and functions that may make the network, the likeliest group first."""
    members = inspect.getmembers(module, inspect.isclass)
    classes = {name: c for name, c in members if issubclass(c, nn.Module) and not inspect.isabstract(c)}
    package = module.__name__.partition(".")[0]
    own = {name: c for name, c in classes.items() if c.__module__ == module.__name__}
    imported = {name: c for name, c in classes.items() if name not in own and c.__module__.startswith(f"{package}.")}
    functions = {
        name: f
        for name, f in inspect.getmembers(module, inspect.isfunction)
        if f.__module__ == module.__name__ and not name.startswith("_")
    }
    annotated = {name: f for name, f in functions.items() if _returns_network(f)}
    named = {name: f for name, f in functions.items() if name not in annotated and _MAKING.search(name)}
    instances = {name: partial(_same, value) for name, value in vars(module).items() if isinstance(value, nn.Module)}
    for group in (own, imported, annotated, named if len(named) == 1 else {}, instances):
        yield {name: maker for name, maker in group.items() if not _mismatch(maker, arguments)}


def _same(network: nn.Module) -> nn.Module:
    return network


def _returns_network(function: Maker) -> bool:
    try:
        returned = get_type_hints(function).get("return")
    except Exception:  # an annotation that cannot be evaluated
        return False
    return inspect.isclass(returned) and issubclass(returned, nn.Module)


def _built(
    makers: Makers, arguments: Mapping[str, object], path: Path, files: Sequence[Path]
) -> tuple[Mapping[str, nn.Module], Sequence[ModelError]]:
    """Return the networks that can be built, and the errors of the others, except of their base classes."""
    networks: dict[str, nn.Module] = {}
    failures: dict[str, ModelError] = {}
    for name, maker in makers.items():
        try:
            networks[name] = _build(maker, name, arguments, path, files)
        except ModelError as error:
            failures[name] = error
    bases = {base for network in networks.values() for base in type(network).__mro__}
    return networks, [error for name, error in failures.items() if makers[name] not in bases]


def _mismatch(maker: Maker, arguments: Mapping[str, object]) -> str | None:
    """Return the reason why `arguments` are not those of a class or function, or None if they are."""
    try:
        inspect.signature(maker).bind(**arguments)
    except TypeError as error:
        return str(error)
    except ValueError:  # it has no signature
        return None
    return None


def _signature(maker: Maker) -> str:
    try:
        return str(inspect.signature(maker))
    except ValueError:  # it has none
        return "(...)"


def _nothing_found(module: ModuleType, path: Path, arguments: Mapping[str, object]) -> str:
    """Return the error for a file without a network that can be built."""
    classes = [
        (name, c)
        for name, c in inspect.getmembers(module, inspect.isclass)
        if issubclass(c, nn.Module) and c.__module__ == module.__name__
    ]
    if not classes:
        return (
            f"'{path.name}' must define exactly one class that is an nn.Module, not 0: none; --class NAME can also "
            "name a function that returns the network"
        )
    taken = f"takes the arguments {', '.join(arguments)}" if arguments else "takes no arguments"
    needed = [f"{name}{_signature(c)}" for name, c in classes]
    names = ", ".join(name for name, _ in classes)
    return (
        f"'{path.name}' must define exactly one class that {taken}, not 0: {names}; --arguments gives them "
        f"their arguments as JSON ({'; '.join(needed)}), and --class NAME names a class or a function"
    )
