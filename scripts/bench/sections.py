"""The sections of the benchmark, all in the table SECTIONS, and the way through them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from saliency.explainer import Explainer
from saliency.model import load_classifier
from scripts.bench.figures import Figure
from scripts.bench.latency import latency
from scripts.bench.libraries import captum, memory
from scripts.bench.loops import fastest
from scripts.bench.methods import methods
from scripts.bench.networks import NETWORKS, archived, unpacked
from scripts.bench.plan import Bench, Plan
from scripts.bench.profile import profile
from scripts.bench.saturation import saturation
from scripts.bench.served import serving


@dataclass(frozen=True)
class Section:
    """A part of the benchmark; `served` where it asks a server, `needs_server` where it cannot do without.

    One that is `extra` is run where it is asked for by its name alone.
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
    }
)
USUAL = tuple(name for name, section in SECTIONS.items() if not section.extra)
IN_PROCESS = tuple(name for name, section in SECTIONS.items() if not section.needs_server)


def measure(plan: Plan, say: Callable[[str], None]) -> Iterator[Figure]:
    """Yield the figures of all networks; `say` is told what is under way."""
    for name in plan.networks:
        with tempfile.TemporaryDirectory() as scratch:
            say(f"{name}: archiving")
            archive = archived(NETWORKS[name], Path(scratch))
            folder = unpacked(archive)
            explainer = Explainer(load_classifier(folder, plan.device))
            bench = Bench(plan, name, NETWORKS[name], folder, explainer, fastest(explainer.classifier))
            say(f"{name}: the engine in {explainer.classifier.memory_format}, bare loops in {bench.bare.memory_format}")
            yield from _served(bench, archive, say)
            yield from _sections(bench, [s for s in plan.sections if not _asks_server(plan, s)], say)


def _served(bench: Bench, archive: Path, say: Callable[[str], None]) -> Iterator[Figure]:
    """Yield the figures of the sections that ask a server, while one runs."""
    sections = [name for name in bench.plan.sections if _asks_server(bench.plan, name)]
    if not sections:
        return
    say(f"{bench.name}: starting TorchServe")
    with ExitStack() as stack:
        store = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        served = serving(bench.network, archive, bench.folder, bench.plan.batch_sizes, store)
        yield from _sections(replace(bench, served=stack.enter_context(served)), sections, say)


def _sections(bench: Bench, names: list[str], say: Callable[[str], None]) -> Iterator[Figure]:
    for name in names:
        say(f"{bench.name}: {name}")
        yield from SECTIONS[name].run(bench)


def _asks_server(plan: Plan, name: str) -> bool:
    """Tell whether a section is run beside a server: a machine with a CUDA device is measured without."""
    return SECTIONS[name].served and plan.device.type == "cpu"
