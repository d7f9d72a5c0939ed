"""Saliency maps of several methods, computed together in shared batches as on the server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType

import torch
from torch import Tensor

from torchserve_saliency.engine.objective import Objective
from torchserve_saliency.engine.scheduler import Scheduler
from torchserve_saliency.errors import RequestError
from torchserve_saliency.methods.base import Maps, Method, Subject, one_pass
from torchserve_saliency.model.classifier import Classifier

COPIES = 4  # noisy copies of the first picture, for the smooth test
NOISE = 0.15  # their standard deviation, as a fraction of the input's range, as in `smooth_grad`
FEW: Mapping[str, object] = MappingProxyType({"samples": 4, "steps": 4})
MapResult = Tensor | RequestError | None  # a map [C, H, W], the reason why there is none, or not computed


@dataclass(frozen=True)
class MapRequest:
    """The map of an input `x` [1, C, H, W] for a class, by a method with its parameters."""

    method: Method
    x: Tensor
    target: int
    parameters: object


def maps_of(classifier: Classifier, requests: Sequence[MapRequest], capacity: int) -> list[Tensor | RequestError]:
    """Return a map [C, H, W] (C = 1 without channels) or an error for each request, computed together."""
    steps = {i: r.method.function(_subject(r, classifier), r.parameters) for i, r in enumerate(requests)}
    found = Scheduler(classifier, capacity, steps).finish()
    return [_map(found[i]) for i in range(len(requests))]


def _map(found: Maps | Exception) -> Tensor | RequestError:
    """Return a method's only map or its RequestError; raise any other exception."""
    if isinstance(found, Maps):
        return found.values[0]
    if isinstance(found, RequestError):
        return found
    raise found


def _subject(request: MapRequest, classifier: Classifier) -> Subject:
    return Subject(request.x, Objective((request.target,), columns=classifier.heads.default.columns), classifier.input)


@dataclass(frozen=True)
class MapMaker:
    """Computes the maps of some methods on inputs [1, C, H, W], for the class that the network predicts."""

    methods: Mapping[str, Method]
    inputs: tuple[Tensor, ...]
    layer: str | None
    capacity: int

    def single_pass_methods(self) -> tuple[str, ...]:
        """Return the methods that need a single forward and backward pass."""
        return tuple(name for name, method in self.methods.items() if method.cost is one_pass)

    def maps(self, classifier: Classifier, names: Sequence[str], pictures: int) -> dict[str, list[MapResult]]:
        """Return the methods' maps of the first pictures, computed together."""
        first = self.inputs[:pictures]
        return self._compute(classifier, {name: [(x, x) for x in first] for name in names})

    def smooth(self, classifier: Classifier) -> dict[str, MapResult]:
        """Return the mean map over noisy copies of the first picture, for each single-pass method."""
        x, generator = self.inputs[0], torch.Generator().manual_seed(0)
        deviation = NOISE * float(x.max() - x.min())
        noisy = [x + deviation * torch.randn(x.shape, generator=generator).to(x) for _ in range(COPIES)]
        pairs = [(copy, x) for copy in noisy]
        # one method at a time: rows with a backward rule slow down their whole batch
        return {name: _mean(self._compute(classifier, {name: pairs})[name]) for name in self.single_pass_methods()}

    def _compute(
        self, classifier: Classifier, inputs: Mapping[str, Sequence[tuple[Tensor, Tensor]]]
    ) -> dict[str, list[MapResult]]:
        """Return each method's maps of the first input of each pair, for the class predicted for the second."""
        default = classifier.heads.default.columns
        with torch.inference_mode():
            cleans = {id(clean): clean for pairs in inputs.values() for _, clean in pairs}
            classes = {key: int(default.of(classifier.forward(clean)).argmax()) for key, clean in cleans.items()}
        requests = [
            MapRequest(self.methods[name], x, classes[id(clean)], self._parameters(name))
            for name, pairs in inputs.items()
            for x, clean in pairs
        ]
        found = iter(maps_of(classifier, requests, self.capacity))
        return {name: [next(found) for _ in pairs] for name, pairs in inputs.items()}

    def _parameters(self, name: str) -> object:
        schema = self.methods[name].parameters
        few = {**FEW, "layer": self.layer}
        return schema(**{f.name: few[f.name] for f in fields(schema) if f.name in few})


def _mean(maps: Sequence[MapResult]) -> MapResult:
    """Return the mean of signed maps, or the first error if there is one."""
    errors = [each for each in maps if isinstance(each, RequestError)]
    return errors[0] if errors else torch.stack([each for each in maps if isinstance(each, Tensor)]).mean(0)
