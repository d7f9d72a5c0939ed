"""Maps of methods as the server makes them: the rows of all of them pooled, wave by wave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType

import torch
from torch import Tensor

from saliency.errors import RequestError
from saliency.methods.base import Maps, Method, Subject, one_pass
from saliency.model import Classifier
from saliency.objective import Objective
from saliency.waves import Waves

COPIES = 4  # noisy copies of the first picture, for the smooth form
NOISE = 0.15  # their deviation, as a fraction of the input's range: that of `smooth_grad`
FEW: Mapping[str, object] = MappingProxyType({"samples": 4, "steps": 4})
Found = Tensor | RequestError | None


@dataclass(frozen=True)
class Ask:
    """A map that is wanted: of an input `x` [1, C, H, W], for a class, by a method with these parameters."""

    method: Method
    x: Tensor
    target: int
    parameters: object


def maps_of(classifier: Classifier, asks: Sequence[Ask], capacity: int) -> list[Tensor | RequestError]:
    """Return a map [C, H, W] (C = 1 where it has no channels) for each, all made together; an error in its place."""
    steps = {i: a.method.function(_subject(a, classifier), a.parameters) for i, a in enumerate(asks)}
    found = Waves(classifier, capacity, steps).finish()
    return [_map(found[i]) for i in range(len(asks))]


def _map(found: Maps | Exception) -> Tensor | RequestError:
    """Return a method's only map, or why it has none; what is no refusal is raised."""
    if isinstance(found, Maps):
        return found.values[0]
    if isinstance(found, RequestError):
        return found
    raise found


def _subject(ask: Ask, classifier: Classifier) -> Subject:
    return Subject(ask.x, Objective((ask.target,)), classifier.input)


@dataclass(frozen=True)
class Maker:
    """Makes the maps of some methods, of inputs [1, C, H, W] for the class that the network predicts."""

    methods: Mapping[str, Method]
    inputs: tuple[Tensor, ...]
    layer: str | None
    capacity: int

    def once(self) -> tuple[str, ...]:
        """Return the methods of a single pass."""
        return tuple(name for name, method in self.methods.items() if method.cost is one_pass)

    def maps(self, classifier: Classifier, names: Sequence[str], pictures: int) -> dict[str, list[Found]]:
        """Return the maps of the first pictures, all made together."""
        picked = self.inputs[:pictures]
        return self._made(classifier, {name: [(x, x) for x in picked] for name in names})

    def smooth(self, classifier: Classifier) -> dict[str, Found]:
        """Return the mean map over noisy copies of the first picture, of each method of a single pass."""
        x, generator = self.inputs[0], torch.Generator().manual_seed(0)
        deviation = NOISE * float(x.max() - x.min())
        noisy = [x + deviation * torch.randn(x.shape, generator=generator).to(x) for _ in range(COPIES)]
        pairs = [(copy, x) for copy in noisy]
        # a method at a time: rows of one rule slow down all rows of their batch
        return {name: _mean(self._made(classifier, {name: pairs})[name]) for name in self.once()}

    def _made(
        self, classifier: Classifier, wanted: Mapping[str, Sequence[tuple[Tensor, Tensor]]]
    ) -> dict[str, list[Found]]:
        """Return each method's maps of inputs, for the class predicted of the input beside each."""
        with torch.inference_mode():
            cleans = {id(clean): clean for pairs in wanted.values() for _, clean in pairs}
            classes = {key: int(classifier.forward(clean).argmax()) for key, clean in cleans.items()}
        asks = [
            Ask(self.methods[name], x, classes[id(clean)], self._parameters(name))
            for name, pairs in wanted.items()
            for x, clean in pairs
        ]
        found = iter(maps_of(classifier, asks, self.capacity))
        return {name: [next(found) for _ in pairs] for name, pairs in wanted.items()}

    def _parameters(self, name: str) -> object:
        schema = self.methods[name].parameters
        few = {**FEW, "layer": self.layer}
        return schema(**{f.name: few[f.name] for f in fields(schema) if f.name in few})


def _mean(maps: Sequence[Found]) -> Found:
    """Return the mean of signed maps; the first error stands for all."""
    errors = [each for each in maps if isinstance(each, RequestError)]
    return errors[0] if errors else torch.stack([each for each in maps if isinstance(each, Tensor)]).mean(0)
