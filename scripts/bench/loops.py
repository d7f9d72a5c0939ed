"""The same work in this process: the barest PyTorch loop that we know, and our engine."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import MappingProxyType
from typing import cast

import torch
from torch import Tensor

from saliency.explainer import Explainer
from saliency.explanation import Explanation
from saliency.image import decode
from saliency.message import Message
from saliency.model import Classifier
from saliency.request import Query, read_query
from saliency.response import encode
from scripts.bench.timing import Run, measured

Fields = Mapping[str, object]
NONE: Fields = MappingProxyType({})
FORMATS: Mapping[str, torch.memory_format] = MappingProxyType(
    {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}
)
PASSES = 9
Each = Callable[[Callable[[bytes], Tensor], Iterable[bytes]], Iterable[Tensor]]


def fastest(classifier: Classifier) -> Classifier:
    """Return the classifier with a copy of its network in the memory format that is the faster one for a batch of one.

    What the engine chooses at load is for batches too, and by few passes; a bare loop is held to no such thing.
    """
    height, width = classifier.input.size
    x = torch.zeros(1, classifier.input.channels, height, width)
    made = {name: in_format(classifier, each) for name, each in FORMATS.items()}
    runs = {name: bare_passes(each, inputs(each, x)) for name, each in made.items()}
    seconds = measured(runs, PASSES, classifier.device)
    return made[min(seconds, key=lambda name: min(seconds[name]))]


def in_format(classifier: Classifier, memory_format: torch.memory_format) -> Classifier:
    """Return the classifier with a copy of its network in a memory format."""
    network = copy.deepcopy(classifier.network).to(memory_format=memory_format)
    return replace(classifier, network=network, memory_format=memory_format)


def decoder(classifier: Classifier) -> Callable[[bytes], Tensor]:
    """Return the function from a picture's bytes to the input tensor [C, H, W]."""
    return lambda data: decode(data, classifier.input, classifier.limits.max_pixels).tensor


def inputs(classifier: Classifier, pictures: Iterable[Tensor]) -> Tensor:
    """Return tensors [C, H, W] as one batch, on the network's device and in its memory format."""
    batch = torch.stack(list(pictures))
    return batch.to(device=classifier.device, memory_format=classifier.memory_format)


def gradient(classifier: Classifier, batch: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits [n, K], and the predicted logits' gradient [n, C, H, W]: one forward pass, one backward."""
    x = batch.detach().requires_grad_()
    logits = classifier.network(x)
    (found,) = torch.autograd.grad(logits.amax(1).sum(), x)
    return logits.detach().cpu(), found.cpu()


def decoding(classifier: Classifier, data: bytes) -> Run:
    """Return the decoding of one picture."""
    read = decoder(classifier)

    def run() -> None:
        read(data)

    return run


def bare_loop(classifier: Classifier, data: bytes, batch: int = 1) -> Run:
    """Return the least that PyTorch can do for predictions and input gradients of decoded pictures."""
    return bare_passes(classifier, inputs(classifier, [decoder(classifier)(data)] * batch))


def bare_passes(classifier: Classifier, batch: Tensor) -> Run:
    """Return one forward and one backward pass of a batch [n, C, H, W]."""

    def run() -> None:
        gradient(classifier, batch)

    return run


def decoding_loop(classifier: Classifier, data: bytes, batch: int = 1, count: int = 1, each: Each = map) -> Run:
    """Return the same with decoding, `count` pictures in batches of `batch`; `each` decodes a batch."""
    read = decoder(classifier)

    def run() -> None:
        for _ in range(0, count, batch):
            gradient(classifier, inputs(classifier, each(read, [data] * batch)))

    return run


def in_two_threads() -> Each:
    """Return a `map` that works in two threads."""
    return cast(Each, ThreadPoolExecutor(2).map)


def queries(explainer: Explainer, data: bytes, batch: int, options: Fields = NONE) -> list[Query]:
    """Return a batch of read requests for explanations."""
    message = Message({"data": data, **options}, explain=True)
    return [read_query(message, explainer.classifier) for _ in range(batch)]


def explained(explainer: Explainer, asked: list[Query]) -> list[Explanation]:
    """Return the explanations of read requests; RequestError where one was refused."""
    outcomes = explainer.begin(asked).forward().finish()
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome
    return cast("list[Explanation]", outcomes)


def engine(explainer: Explainer, data: bytes, batch: int = 1, count: int = 1, options: Fields = NONE) -> Run:
    """Return whole explanations, in batches: read, decode, explain, encode."""
    limit = explainer.classifier.limits.max_response_bytes

    def run() -> None:
        for _ in range(0, count, batch):
            for explanation in explained(explainer, queries(explainer, data, batch, options)):
                encode(explanation, limit)

    return run
