"""The section profile: the time of one request by stage. The engine's functions are replaced by timed ones."""

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

from tools.benchmark.bare_loop import engine_run
from tools.benchmark.measurements import Figure
from tools.benchmark.plan import MS, Bench, FigureMaker
from tools.benchmark.timing import WARM_UP, Run, synchronise, time_run

# stage -> module and name of its function. The time of a nested stage does not count for the outer one
STAGES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "decode": ("torchserve_saliency.images.decoding", "read"),
        "preprocess": ("torchserve_saliency.images.preprocessing", "decode"),
        "forward": ("torchserve_saliency.engine.network_pass", "Pass.forward"),
        "backward": ("torchserve_saliency.engine.network_pass", "Pass.backward"),
        "reduce": ("torchserve_saliency.methods.reduction", "reduced"),
        "render": ("torchserve_saliency.responses.rendering", "draw"),
        "encode": ("torchserve_saliency.responses.encoding", "encode"),
    }
)
REST, SERVER = "rest", "server"
PACKAGES = ("torchserve_saliency", "tools.benchmark")
DEFAULT = "default answer"
REQUESTS: Mapping[str, Mapping[str, str]] = MappingProxyType({DEFAULT: {}, "overlay": {"render": "overlay"}})


def profile(bench: Bench) -> Iterator[Figure]:
    """Yield the times of a request's stages in this process, and the time that a server adds to them."""
    maker = FigureMaker("profile", bench.name)
    for title, options in REQUESTS.items():
        rounds = [_round(bench, options) for _ in range(bench.plan.rounds + WARM_UP)][WARM_UP:]
        for stage in rounds[0]:
            yield maker.figure(f"{title}: {stage}", "ms", tuple(MS * each[stage] for each in rounds))


def _round(bench: Bench, options: Mapping[str, str]) -> dict[str, float]:
    """Return the seconds of each stage of one request in this process, and the additional seconds of a server."""
    stages = time_stages(engine_run(bench.explainer, bench.data, options=options), bench.plan.device)
    if bench.served is None:
        return stages
    tail = "&".join(f"{name}={value}" for name, value in options.items())
    path = f"/explanations/{bench.served.models[1]}" + (f"/1.0/{tail}" if tail else "")
    return {**stages, SERVER: time_run(bench.served.request_run(path, bench.data)) - sum(stages.values())}


class Clock:
    """Measures the seconds of each stage, without those of stages nested in it."""

    def __init__(self, device: torch.device) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self._device = device
        self._nested = [0.0]

    def timing(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a replacement of a function that adds its time to a stage."""

        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            synchronise(self._device)
            start = time.perf_counter()
            self._nested.append(0.0)
            try:
                return function(*args, **kwargs)
            finally:
                synchronise(self._device)
                elapsed = time.perf_counter() - start
                self.seconds[stage] += elapsed - self._nested.pop()
                self._nested[-1] += elapsed

        return timed


def time_stages(run: Run, device: torch.device) -> dict[str, float]:
    """Return the seconds of each stage of one run; the remaining time has the name `rest`."""
    with stage_clock(device) as clock:
        synchronise(device)
        start = time.perf_counter()
        run()
        synchronise(device)
        total = time.perf_counter() - start
    return {**clock.seconds, REST: total - sum(clock.seconds.values())}


@contextmanager
def stage_clock(device: torch.device) -> Iterator[Clock]:
    """Yield a clock that times every stage. A stage's function is replaced in every module that has imported it."""
    clock = Clock(device)
    with ExitStack() as stack:
        for stage, (module, name) in STAGES.items():
            for holder, attribute, function in _references(module, name):
                stack.enter_context(mock.patch.object(holder, attribute, clock.timing(stage, function)))
        yield clock


def _references(module: str, name: str) -> list[tuple[object, str, Callable[..., Any]]]:
    """Return the references to a stage's function: in its class, or in every module that has imported it."""
    owner, _, attribute = name.rpartition(".")
    try:
        home: object = importlib.import_module(module)
        home = getattr(home, owner) if owner else home
        function = getattr(home, attribute)
    except (ImportError, AttributeError) as error:
        raise LookupError(f"{module}.{name} does not exist; correct STAGES in {__name__}") from error
    if owner:
        return [(home, attribute, function)]
    return [(each, key, function) for each in _modules() for key, value in vars(each).items() if value is function]


def _modules() -> list[ModuleType]:
    """Return the loaded modules of the engine and of the benchmark."""
    return [module for name, module in sorted(sys.modules.items()) if name.startswith(PACKAGES)]
