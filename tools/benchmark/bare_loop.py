"""Runs in this process: a minimal PyTorch loop for predictions and gradients, and the engine."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import MappingProxyType
from typing import cast

import torch
from torch import Tensor

from tools.benchmark.timing import Run, time_runs
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.images.preprocessing import decode
from torchserve_saliency.model.classifier import Classifier
from torchserve_saliency.requests.message import Message
from torchserve_saliency.requests.query import Query, read_query
from torchserve_saliency.responses.encoding import encode
from torchserve_saliency.responses.explanation import Explanation

Fields = Mapping[str, object]
NO_OPTIONS: Fields = MappingProxyType({})
MEMORY_FORMATS: Mapping[str, torch.memory_format] = MappingProxyType(
    {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}
)
PASSES = 9
MapFunction = Callable[[Callable[[bytes], Tensor], Iterable[bytes]], Iterable[Tensor]]


def in_fastest_format(classifier: Classifier) -> Classifier:
    """Return the classifier with a copy of its network in the memory format that is faster for a batch of one.

    The engine chooses its format with few passes and for batches too, so it may not be the fastest one here.
    """
    height, width = classifier.input.size
    x = torch.zeros(1, classifier.input.channels, height, width)
    copies = {name: in_format(classifier, each) for name, each in MEMORY_FORMATS.items()}
    runs = {name: bare_passes(each, inputs(each, x)) for name, each in copies.items()}
    seconds = time_runs(runs, PASSES, classifier.device)
    return copies[min(seconds, key=lambda name: min(seconds[name]))]


def in_format(classifier: Classifier, memory_format: torch.memory_format) -> Classifier:
    """Return the classifier with a copy of its network in the given memory format."""
    network = copy.deepcopy(classifier.network).to(memory_format=memory_format)
    return replace(classifier, network=network, memory_format=memory_format)


def decoder(classifier: Classifier) -> Callable[[bytes], Tensor]:
    """Return a function that decodes a picture's bytes to an input tensor [C, H, W]."""
    return lambda data: decode(data, classifier.input, classifier.limits.max_pixels).tensor


def inputs(classifier: Classifier, pictures: Iterable[Tensor]) -> Tensor:
    """Return tensors [C, H, W] as one batch [n, C, H, W] on the network's device and in its memory format."""
    batch = torch.stack(list(pictures))
    return batch.to(device=classifier.device, memory_format=classifier.memory_format)


def gradient(classifier: Classifier, batch: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logits [n, K] and the gradients [n, C, H, W] of the greatest ones, by a forward and backward pass."""
    x = batch.detach().requires_grad_()
    logits = classifier.network(x)
    (gradients,) = torch.autograd.grad(logits.amax(1).sum(), x)
    return logits.detach().cpu(), gradients.cpu()


def decoding(classifier: Classifier, data: bytes) -> Run:
    """Return a run that decodes one picture."""
    decode_picture = decoder(classifier)

    def run() -> None:
        decode_picture(data)

    return run


def bare_loop(classifier: Classifier, data: bytes, batch: int = 1) -> Run:
    """Return a run of the minimal PyTorch code for predictions and input gradients of decoded pictures."""
    return bare_passes(classifier, inputs(classifier, [decoder(classifier)(data)] * batch))


def bare_passes(classifier: Classifier, batch: Tensor) -> Run:
    """Return a run of one forward and one backward pass of a batch [n, C, H, W]."""

    def run() -> None:
        gradient(classifier, batch)

    return run


def decoding_loop(
    classifier: Classifier, data: bytes, batch: int = 1, count: int = 1, map_function: MapFunction = map
) -> Run:
    """Return a run of `bare_loop` with decoding, for `count` pictures in batches of `batch`.

    `map_function` maps the decoder over a batch.
    """
    decode_picture = decoder(classifier)

    def run() -> None:
        for _ in range(0, count, batch):
            gradient(classifier, inputs(classifier, map_function(decode_picture, [data] * batch)))

    return run


def two_thread_map() -> MapFunction:
    """Return a replacement for `map` that uses two threads."""
    return cast(MapFunction, ThreadPoolExecutor(2).map)


def queries(explainer: Explainer, data: bytes, batch: int, options: Fields = NO_OPTIONS) -> list[Query]:
    """Return a batch of equal queries for explanations."""
    message = Message({"data": data, **options}, explain=True)
    return [read_query(message, explainer.classifier) for _ in range(batch)]


def explanations(explainer: Explainer, batch: list[Query]) -> list[Explanation]:
    """Return the explanations of a batch of queries. Raise RequestError if one of them failed."""
    outcomes = explainer.begin(batch).forward().finish()
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome
    return cast("list[Explanation]", outcomes)


def engine_run(explainer: Explainer, data: bytes, batch: int = 1, count: int = 1, options: Fields = NO_OPTIONS) -> Run:
    """Return a run of the engine's whole work on `count` pictures: read, decode, explain, encode."""
    limit = explainer.classifier.limits.max_response_bytes

    def run() -> None:
        for _ in range(0, count, batch):
            for explanation in explanations(explainer, queries(explainer, data, batch, options)):
                encode(explanation, limit)

    return run
