"""Python files imported under names of their own, so that files of two archives with one name do not collide.

The files of one network are the modules of a private package. Their `import blocks` and `from . import blocks` find
`blocks` in that package, at any time, and `sys.modules` gets no module named `blocks`.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import sys
import traceback
import uuid
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from torchserve_saliency.errors import ModelError


def import_privately(path: Path, files: Sequence[Path] = ()) -> ModuleType:
    """Return the module of a Python file, which can import the other `files`: modules, packages, folders of modules.

    Raise ModelError, with the line that failed, if it cannot be imported.
    """
    if not path.is_file() or path.suffix != ".py":
        raise ModelError(f"'{path.name}' is no Python file")
    package = _Package(f"saliency_network_{uuid.uuid4().hex}", path, files)
    sys.meta_path.insert(0, package)
    root = ModuleType(package.name)
    root.__path__ = []
    sys.modules[package.name] = root
    try:
        return importlib.import_module(f"{package.name}.{path.stem}")
    except (Exception, SystemExit) as error:
        package.unload()
        raise ModelError(f"'{path.name}' cannot be imported by itself: {_reason(error, package)}") from error


class _Package(MetaPathFinder):
    """The private package of one network: it finds the modules, and directs their imports to each other."""

    def __init__(self, name: str, main: Path, files: Sequence[Path]) -> None:
        self.name = name
        self.main = main
        self.folders = [file for file in files if file.is_dir()]
        self.files: Mapping[str, Path] = {main.stem: main, **{file.stem: file for file in files}}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a module of the package, or None for any other module."""
        if not fullname.startswith(f"{self.name}."):
            return None
        name = fullname[len(self.name) + 1 :]
        found = self._find(name, path)
        if found is None:
            return None
        init = found / "__init__.py"
        if found.is_dir() and not init.is_file():
            spec = ModuleSpec(fullname, None, is_package=True)
            spec.submodule_search_locations = [str(found)]
            return spec
        file, folders = (init, [str(found)]) if found.is_dir() else (found, None)
        loader = _Loader(fullname, str(file), self)
        return importlib.util.spec_from_file_location(fullname, file, loader=loader, submodule_search_locations=folders)

    def unload(self) -> None:
        """Remove the package and its modules."""
        sys.meta_path.remove(self)
        for name in [name for name in sys.modules if name == self.name or name.startswith(f"{self.name}.")]:
            del sys.modules[name]

    def import_name(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] = (),
        level: int = 0,
    ) -> ModuleType:
        """Import as `__import__` does, but prefer a module of the package to an installed one."""
        top = name.partition(".")[0]
        if top == "importlib" and not level:
            return self._importlib(builtins.__import__(name, globals, locals, fromlist, level))
        if level or self._find(top, None) is None:
            return builtins.__import__(name, globals, locals, fromlist, level)
        module = importlib.import_module(f"{self.name}.{name}")
        for each in fromlist or ():
            if not hasattr(module, each) and hasattr(module, "__path__") and each != "*":
                importlib.import_module(f"{module.__name__}.{each}")
        return module if fromlist else sys.modules[f"{self.name}.{top}"]

    def _importlib(self, module: ModuleType) -> ModuleType:
        """Return a copy of the module `importlib` whose `import_module` finds the package's modules, too."""
        if module.__name__ != "importlib":
            return module

        def import_module(name: str, package: str | None = None) -> ModuleType:
            own = not name.startswith(".") and self._find(name.partition(".")[0], None) is not None
            return importlib.import_module(f"{self.name}.{name}" if own else name, package)

        copy = ModuleType("importlib")
        vars(copy).update(vars(module), import_module=import_module)
        return copy

    def _find(self, name: str, path: Sequence[str] | None) -> Path | None:
        """Return the file or the folder of a module; `path` has the folders of its parent package."""
        last = name.rpartition(".")[2]
        if "." not in name and name in self.files:
            return self.files[name]
        for folder in self.folders if "." not in name else [Path(each) for each in path or ()]:
            if (folder / f"{last}.py").is_file():
                return folder / f"{last}.py"
            if (folder / last).is_dir():
                return folder / last
        return None


class _Loader(SourceFileLoader):
    """Loads a module of a private package, whose import statements the package answers."""

    def __init__(self, name: str, path: str, package: _Package) -> None:
        super().__init__(name, path)
        self.package = package

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__builtins__"] = {**vars(builtins), "__import__": self.package.import_name}
        super().exec_module(module)


def line_in(error: BaseException, path: Path, files: Sequence[Path] = ()) -> str:
    """Return the line of a Python file or of its `files` that an exception comes from, or an empty text."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_one_of(frame.filename, path, files)]
    return f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}: `{frames[-1].line}`" if frames else ""


def _reason(error: BaseException, package: _Package) -> str:
    """Return an error's message, its type, and the line of the user's files that it comes from."""
    kind, lines = type(error).__name__, str(error).strip().splitlines()
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.msg} ({kind} in {Path(error.filename).name}, line {error.lineno})"
    message = lines[-1] if lines else "no message"
    if isinstance(error, SystemExit) and not isinstance(error.code, str):
        message = f"it ends the program with status {error.code or 0}"
    line = line_in(error, package.main, [*package.files.values(), *package.folders])
    return f"{message} ({kind}{line and f' in {line}'}){_advice(error, package)}"


def _advice(error: BaseException, package: _Package) -> str:
    """Return the remedy for a missing module or a missing file."""
    if isinstance(error, FileNotFoundError):
        return f"; if it is a file beside '{package.main.name}', --extra-files adds it"
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return ""
    name = error.name.removeprefix(f"{package.name}.").split(".")[0]
    near = [package.main.parent / f"{name}.py", package.main.parent / name]
    if found := next((path for path in near if path.exists()), None):
        return f"; '{found.name}' is beside it: add it by --extra-files {found}"
    return (
        "; if it is a file of yours, --extra-files adds it; if it is a package, install it here, and name it for the "
        "server in a --requirements-file"
    )


def _is_one_of(filename: str, path: Path, files: Sequence[Path]) -> bool:
    """Tell if a file is `path`, one of `files`, or in a folder that is one of them."""
    own = {path, *files}
    return not own.isdisjoint([Path(filename), *Path(filename).parents])
