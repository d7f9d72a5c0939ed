"""One request's time by stage: the public functions of the engine, timed where they are called."""

from __future__ import annotations

import functools
import importlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import MappingProxyType, ModuleType
from typing import Any
from unittest import mock

import torch

from scripts.bench.figures import Figure
from scripts.bench.loops import engine
from scripts.bench.plan import MS, Bench, Notes
from scripts.bench.timing import WARM_UP, Run, synchronise, timed

# stage -> module and name of what does it; a stage inside another one counts for itself alone
STAGES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "decode": ("saliency.decoding", "read"),
        "preprocess": ("saliency.image", "prepare"),
        "forward": ("saliency.engine", "Pass.forward"),
        "backward": ("saliency.engine", "Pass.backward"),
        "reduce": ("saliency.reduce", "reduced"),
        "render": ("saliency.render", "draw"),
        "encode": ("saliency.response", "encode"),
    }
)
REST, SERVER = "rest", "server"
PACKAGES = ("saliency", "scripts.bench")
DEFAULT = "default answer"
REQUESTS: Mapping[str, Mapping[str, str]] = MappingProxyType({DEFAULT: {}, "overlay": {"render": "overlay"}})


def profile(bench: Bench) -> Iterator[Figure]:
    """Yield the stages of a request: in this process, and what the server adds to them."""
    notes = Notes("profile", bench.name)
    for title, options in REQUESTS.items():
        rounds = [_round(bench, options) for _ in range(bench.plan.rounds + WARM_UP)][WARM_UP:]
        for stage in rounds[0]:
            yield notes.figure(f"{title}: {stage}", "ms", tuple(MS * each[stage] for each in rounds))


def _round(bench: Bench, options: Mapping[str, str]) -> dict[str, float]:
    """Return the seconds of each stage of one request in this process, and of the server for the same one."""
    stages = staged(engine(bench.explainer, bench.data, options=options), bench.plan.device)
    if bench.served is None:
        return stages
    tail = "&".join(f"{name}={value}" for name, value in options.items())
    path = f"/explanations/{bench.served.ours[1]}" + (f"/1.0/{tail}" if tail else "")
    return {**stages, SERVER: timed(bench.served.ask(path, bench.data)) - sum(stages.values())}


class Clock:
    """The seconds of each stage, those of stages inside it not counted."""

    def __init__(self, device: torch.device) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self._device = device
        self._inner = [0.0]

    def timing(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function with its own time added to a stage."""

        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            synchronise(self._device)
            began = time.perf_counter()
            self._inner.append(0.0)
            try:
                return function(*args, **kwargs)
            finally:
                synchronise(self._device)
                taken = time.perf_counter() - began
                self.seconds[stage] += taken - self._inner.pop()
                self._inner[-1] += taken

        return timed


def staged(run: Run, device: torch.device) -> dict[str, float]:
    """Return the seconds of each stage of one run, and those of none of them as `rest`."""
    with watched(device) as clock:
        synchronise(device)
        began = time.perf_counter()
        run()
        synchronise(device)
        total = time.perf_counter() - began
    return {**clock.seconds, REST: total - sum(clock.seconds.values())}


@contextmanager
def watched(device: torch.device) -> Iterator[Clock]:
    """Give a clock that times every stage, wherever its function was imported to, until the end."""
    clock = Clock(device)
    with ExitStack() as stack:
        for stage, (module, name) in STAGES.items():
            for place, attribute, function in _places(module, name):
                stack.enter_context(mock.patch.object(place, attribute, clock.timing(stage, function)))
        yield clock


def _places(module: str, name: str) -> list[tuple[object, str, Callable[..., Any]]]:
    """Return everywhere that the stage's function stands: its class, or every module that has imported it."""
    owner, _, attribute = name.rpartition(".")
    try:
        home: object = importlib.import_module(module)
        home = getattr(home, owner) if owner else home
        function = getattr(home, attribute)
    except (ImportError, AttributeError) as error:
        raise LookupError(f"{module}.{name} is not there: name its successor in STAGES ({__name__})") from error
    if owner:
        return [(home, attribute, function)]
    return [(place, key, function) for place in _modules() for key, value in vars(place).items() if value is function]


def _modules() -> list[ModuleType]:
    """Return the loaded modules of the engine and of the benchmark."""
    return [module for name, module in sorted(sys.modules.items()) if name.startswith(PACKAGES)]
