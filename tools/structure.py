"""The structure of the engine, measured from its imports: python -m tools.structure

Prints the number of modules, the levels of imports, the number of imports between its packages, and the files that a
default explanation enters.
"""

from __future__ import annotations

import io
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, cast

import grimp
import torch
from PIL import Image
from tabulate import tabulate

import saliency_handler
import torchserve_saliency
from tools.corpus.tiny_network import small_classifier
from tools.zoo.in_process_server import Context
from torchserve_saliency.explainer import Explainer

PACKAGE = torchserve_saliency.__name__
HANDLERS = Path(saliency_handler.__file__).parent


def main() -> None:
    """Print the structure."""
    graph = grimp.build_graph(PACKAGE)
    modules = {name for name in graph.modules if not graph.find_children(name)}
    edges = [(name, other) for name in modules for other in graph.find_modules_directly_imported_by(name)]
    between = Counter((wing(a), wing(b)) for a, b in edges if wing(a) != wing(b))
    print(
        f"{len(modules)} modules, {levels(graph)} levels of imports, {len(between)} kinds of imports between packages"
    )
    print(tabulate(sorted((a, b, n) for (a, b), n in between.items()), ["package", "imports", "times"], "github"))
    entered = files_entered(default_explanation())
    print(f"\na default explanation enters {len(entered)} files:\n  " + "\n  ".join(entered))


def wing(module: str) -> str:
    """Return the name of the engine's package that contains a module, or of the module itself if it is in none."""
    return module.removeprefix(f"{PACKAGE}.").partition(".")[0]


def levels(graph: grimp.ImportGraph) -> int:
    """Return the number of modules in the longest chain of imports."""
    found: dict[str, int] = {}

    def level(name: str) -> int:
        if name not in found:
            imported = graph.find_modules_directly_imported_by(name)
            found[name] = 1 + max((level(other) for other in imported), default=0)
        return found[name]

    return max(level(name) for name in graph.modules)


def default_explanation() -> Callable[[], object]:
    """Return a function that sends the handler a request for an explanation, with one picture and no option."""
    handler = saliency_handler.SaliencyHandler()
    handler.explainer = Explainer(small_classifier())
    context = cast(Any, Context({}, {}))
    file = io.BytesIO()
    Image.effect_noise((64, 64), 64).convert("RGB").save(file, "JPEG")

    def request() -> object:
        return handler.handle([{"data": file.getvalue()}], context)

    request()  # the first request also enters code that runs only once
    assert context.status == 200
    return request


def files_entered(request: Callable[[], object]) -> Sequence[str]:
    """Return the handler's and the engine's files with functions that a request calls, in the order of the calls."""
    entered: dict[str, None] = {}

    def watch(frame: FrameType, event: str, argument: object) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(HANDLERS):
            entered.setdefault(str(path.relative_to(HANDLERS)))

    torch.set_num_threads(1)
    sys.setprofile(watch)
    try:
        request()
    finally:
        sys.setprofile(None)
    return list(entered)


if __name__ == "__main__":
    main()
