"""The sections of the benchmark in the table SECTIONS, and the function that runs them."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from tqdm import tqdm

from tools.benchmark.bare_loop import in_fastest_format
from tools.benchmark.latency import latency
from tools.benchmark.libraries import captum, memory
from tools.benchmark.measurements import Figure
from tools.benchmark.methods import methods
from tools.benchmark.networks import NETWORKS, unpack, write_archive
from tools.benchmark.page import page
from tools.benchmark.plan import Bench, Plan
from tools.benchmark.profile import profile
from tools.benchmark.saturation import saturation
from tools.benchmark.served import serve
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.model.classifier import load_classifier


@dataclass(frozen=True)
class Section:
    """A part of the benchmark.

    `served` is true if it uses a server, `needs_server` if it cannot run without one. An `extra` section runs only if
    it is named.
    """

    run: Callable[[Bench], Iterator[Figure]]
    served: bool = False
    needs_server: bool = False
    extra: bool = False


SECTIONS: Mapping[str, Section] = MappingProxyType(
    {
        "latency": Section(latency, served=True),
        "saturation": Section(saturation, served=True, needs_server=True),
        "profile": Section(profile, served=True),
        "captum": Section(captum),
        "memory": Section(memory),
        "methods": Section(methods, extra=True),
        "page": Section(page, served=True, needs_server=True, extra=True),
    }
)
DEFAULT_SECTIONS = tuple(name for name, section in SECTIONS.items() if not section.extra)
IN_PROCESS = tuple(name for name, section in SECTIONS.items() if not section.needs_server)


def measure(plan: Plan, bar: tqdm) -> Iterator[Figure]:
    """Yield the figures of all networks. The progress bar shows the current step and counts sections."""
    for name in plan.networks:
        with tempfile.TemporaryDirectory() as scratch:
            bar.set_postfix_str(f"{name}: archiving")
            archive = write_archive(NETWORKS[name], Path(scratch))
            folder = unpack(archive)
            explainer = Explainer(load_classifier(folder, plan.device))
            bench = Bench(plan, name, NETWORKS[name], folder, explainer, in_fastest_format(explainer.classifier))
            formats = f"the engine uses {explainer.classifier.memory_format}, bare loops {bench.bare.memory_format}"
            bar.write(f"{name}: {formats}", file=sys.stderr)
            yield from _served(bench, archive, bar)
            yield from _sections(bench, [s for s in plan.sections if not _uses_server(plan, s)], bar)


def _served(bench: Bench, archive: Path, bar: tqdm) -> Iterator[Figure]:
    """Start a server if a section needs one, and yield the figures of those sections."""
    sections = [name for name in bench.plan.sections if _uses_server(bench.plan, name)]
    if not sections:
        return
    bar.set_postfix_str(f"{bench.name}: starting TorchServe")
    with ExitStack() as stack:
        store = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        served = serve(bench.network, archive, bench.folder, bench.plan.batch_sizes, store)
        yield from _sections(replace(bench, served=stack.enter_context(served)), sections, bar)


def _sections(bench: Bench, names: list[str], bar: tqdm) -> Iterator[Figure]:
    for name in names:
        bar.set_postfix_str(f"{bench.name}: {name}")
        yield from SECTIONS[name].run(bench)
        bar.update()


def _uses_server(plan: Plan, name: str) -> bool:
    """Return whether a section runs with a server. On a CUDA device, all sections run without one."""
    return SECTIONS[name].served and plan.device.type == "cpu"
