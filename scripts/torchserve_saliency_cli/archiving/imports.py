"""The packages that the user's own Python files import, and that neither the archive nor TorchServe's image has."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from torchserve_saliency_cli.archiving.arguments import ArchiveArguments

# the packages of the image pytorch/torchserve that an archive may rely on
PROVIDED = frozenset({"torch", "torchvision", "numpy", "PIL", "yaml", "matplotlib", "ts"})
OURS = frozenset({"torchserve_saliency", "saliency_handler"})
_OPTIONAL = ("ImportError", "ModuleNotFoundError", "Exception", "BaseException")


@dataclass(frozen=True)
class Import:
    """A package that a file imports, and the line."""

    package: str
    file: str
    line: int


def missing_imports(args: ArchiveArguments) -> list[Import]:
    """Return the imports of the user's files that an archive of these arguments does not hold, one per package.

    Packages in the requirements file are not among them.
    """
    files = [path for path in (args.model_file, args.handler) if path]
    for path in args.extra_files:
        files += sorted(path.rglob("*.py")) if path.is_dir() else [path] if path.suffix == ".py" else []
    own = {path.stem for path in [*files, *args.extra_files]}
    own |= {each.name for path in args.extra_files if path.is_dir() for each in path.iterdir() if each.is_dir()}
    listed = _required(args.requirements_file)
    found: dict[str, Import] = {}
    for each in (each for file in files for each in imports_of(file)):
        held = each.package in PROVIDED | OURS | own or each.package in sys.stdlib_module_names
        if not held and not _distributions(each.package) & listed:
            found.setdefault(each.package, each)
    return list(found.values())


def imports_of(file: Path) -> Iterator[Import]:
    """Yield the packages that a Python file imports, at its top and in functions.

    Relative imports, imports for type checkers, and those whose failure the file handles are left out.
    """
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError):
        return
    for node in _required_nodes(tree):
        names: Sequence[str] = ()
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        for name in names:
            yield Import(name.partition(".")[0], file.name, node.lineno)  # type: ignore[attr-defined]


def _required_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a tree, without the parts that may fail or are not run."""
    yield node
    children = list(ast.iter_child_nodes(node))
    if isinstance(node, ast.Try) and any(_handles_import(handler) for handler in node.handlers):
        children = [*node.handlers, *node.orelse, *node.finalbody]
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        children = list(node.orelse)
    for child in children:
        yield from _required_nodes(child)


def _handles_import(handler: ast.ExceptHandler) -> bool:
    return handler.type is None or any(name in ast.unparse(handler.type) for name in _OPTIONAL)


def _required(path: Path | None) -> set[str]:
    """Return the normalised names of the packages in a requirements file."""
    lines = path.read_text(encoding="utf-8").splitlines() if path else []
    names = (re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)", line) for line in lines)
    return {_normalised(name[1]) for name in names if name}


def _distributions(package: str) -> set[str]:
    """Return the normalised names under which a package may be installed."""
    known = importlib.metadata.packages_distributions().get(package, [])
    return {_normalised(name) for name in (package, *known)}


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
