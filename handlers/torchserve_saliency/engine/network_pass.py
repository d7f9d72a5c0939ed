"""One batch through the network: a forward pass for all rows, and a backward pass per target."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchserve_saliency.engine.hooks import on_grids, run_with_hooks
from torchserve_saliency.engine.objective import Pairs
from torchserve_saliency.engine.rows import Answer, Rows
from torchserve_saliency.errors import RequestError
from torchserve_saliency.model.classifier import Classifier


@dataclass(frozen=True)
class _Scored:
    """The classes of each row of a chunk, their scores [T, n], and the scores' gradients in the logits [T, n, K]."""

    pairs: tuple[Pairs, ...]
    scores: NDArray[np.float64]
    cotangents: NDArray[np.float64]


@dataclass(frozen=True)
class Gradients:
    """Gradients [T, N, …] of the scores of all rows: in the input, if requested, and in captured tensors by name."""

    input: Tensor | None = None
    captured: Mapping[str, Tensor] = field(default_factory=dict)


class Pass:
    """The passes of one batch: call `forward`, which keeps the autograd graph, then `backward` once.

    All chunks of a batch have the same number of targets, mode and units.
    """

    def __init__(self, classifier: Classifier, chunks: Sequence[Rows]) -> None:
        self.classifier = classifier
        self.chunks = list(chunks)
        ends = itertools.accumulate((len(chunk.inputs) for chunk in chunks), initial=0)
        self._slices = [slice(start, end) for start, end in itertools.pairwise(ends)]
        self._layers: Mapping[str, Tensor] = {}
        self._mode_outputs: Mapping[str, Tensor] = {}

    def forward(self) -> Pass:
        """Run the network on all rows at once."""
        device, memory_format = self.classifier.device, self.classifier.memory_format
        batch = self.chunks[0].inputs if len(self.chunks) == 1 else torch.cat([chunk.inputs for chunk in self.chunks])
        self.inputs = batch.to(device=device, memory_format=memory_format)
        self.outputs = self._run_with_graph() if self.chunks[0].differentiated else self._run_without_graph()
        self.logits = to_float32(self.outputs.detach().cpu())
        return self

    def _run_without_graph(self) -> Tensor:
        """Return the logits, computed without autograd."""
        if all(chunk.plain for chunk in self.chunks):
            with torch.inference_mode():
                return self.classifier.forward_plain(self.inputs)
        with torch.no_grad():
            return self._run_with_hooks(cut=False)

    def _run_with_graph(self) -> Tensor:
        """Return the logits with their graph, which starts at the input if any chunk needs the input's gradient."""
        to_input = any(chunk.to_input for chunk in self.chunks)
        # the input may be the caller's tensor, so an alias of it requires the gradient
        self.inputs = self.inputs.detach().requires_grad_(to_input)
        with torch.enable_grad():
            if all(chunk.plain for chunk in self.chunks):
                return self.classifier.forward_plain(self.inputs)
            return self._run_with_hooks(cut=not to_input)

    def _run_with_hooks(self, cut: bool) -> Tensor:
        """Return the logits, and keep the captured tensors."""
        logits, self._layers, self._mode_outputs = run_with_hooks(self.classifier, self.chunks, self.inputs, cut)
        return logits

    def backward(self) -> list[Answer | RequestError]:
        """Return one answer per chunk, and free the graph."""
        scored = [_score(chunk, self.logits[rows]) for chunk, rows in zip(self.chunks, self._slices, strict=True)]
        gradients = self._gradients(scored) if self.chunks[0].differentiated else Gradients()
        answers = [self._answer(i, each, gradients) for i, each in enumerate(scored)]
        del self.outputs, self.inputs, self._layers, self._mode_outputs
        return answers

    def _gradients(self, scored: Sequence[_Scored | RequestError]) -> Gradients:
        """Return the gradients of all rows, one backward pass per target over the same graph."""
        mode = self.chunks[0].mode
        captured = {**self._layers, **self._mode_outputs} if mode and mode.captures else self._layers
        to_input = self.inputs.requires_grad
        sources = [*captured.values(), *([self.inputs] if to_input else [])]
        targets = max((len(each.scores) for each in scored if isinstance(each, _Scored)), default=0)
        per_target = [self._differentiate(scored, t, sources, t + 1 < targets) for t in range(targets)]
        stacked = [torch.stack(gradients) for gradients in zip(*per_target, strict=True)]
        if not stacked:
            return Gradients()
        return Gradients(stacked.pop() if to_input else None, dict(zip(captured, stacked, strict=True)))

    def _differentiate(
        self, scored: Sequence[_Scored | RequestError], target: int, sources: Sequence[Tensor], keep_graph: bool
    ) -> list[Tensor]:
        """Return the gradients, in each of `sources`, of every row's score for target number `target`."""
        cotangents = np.zeros(self.outputs.shape)
        for rows, each in zip(self._slices, scored, strict=True):
            if isinstance(each, _Scored):
                cotangents[rows] = each.cotangents[target]
        # a cotangent of 1e-8 would be lost in half precision, so each row is scaled up and its gradient down again
        scale = np.abs(cotangents).max(1) / self.classifier.precision.loss_scale
        scaled = torch.from_numpy(cotangents / np.where(scale > 0, scale, 1)[:, None]).to(self.outputs)
        gradients = torch.autograd.grad(
            self.outputs, sources, scaled, retain_graph=keep_graph, allow_unused=True, materialize_grads=True
        )
        if ((scale == 1) | (scale == 0)).all():
            return [to_float32(gradient) for gradient in gradients]
        factors = torch.from_numpy(scale.astype(np.float32)).to(self.outputs.device)
        return [to_float32(gradient) * factors.view(-1, *[1] * (gradient.dim() - 1)) for gradient in gradients]

    def _answer(self, index: int, scored: _Scored | RequestError, gradients: Gradients) -> Answer | RequestError:
        """Return the answer of one chunk."""
        if isinstance(scored, RequestError):
            return scored
        chunk, rows = self.chunks[index], self._slices[index]
        gradient = gradients.input[:, rows] if chunk.to_input and gradients.input is not None else None
        answer = Answer(self.logits[rows], scored.pairs, torch.from_numpy(scored.scores), gradient)
        if chunk.plain:
            return answer
        activations = {name: self._layers[name] for name in chunk.layers} | dict(self._mode_outputs)
        try:
            grids, gradient_grids = on_grids(
                chunk,
                {name: to_float32(tensor.detach()[rows]) for name, tensor in activations.items()},
                {name: gradients.captured[name][:, rows] for name in activations if name in gradients.captured},
            )
        except RequestError as error:
            return error
        return replace(answer, activations=grids, gradients=gradient_grids)


def _score(chunk: Rows, logits: Tensor) -> _Scored | RequestError:
    """Return the classes and scores of a chunk's rows, or the error if they cannot be resolved or have no score."""
    nothing = _Scored(((),) * len(logits), np.zeros((0, len(logits))), np.zeros((0, *logits.shape)))
    if chunk.objective is None:
        return nothing
    try:
        pairs = tuple(chunk.objective.resolved(row) for row in logits)
        evaluated = [
            [chunk.objective.evaluate(row, pair) for row, pair in zip(logits, per_row, strict=True)]
            for per_row in zip(*pairs, strict=True)
        ]
    except RequestError as error:
        return error
    if not evaluated:
        return nothing
    scores = np.array([[value for value, _ in per_row] for per_row in evaluated])
    return _Scored(pairs, scores, np.array([[gradient for _, gradient in per_row] for per_row in evaluated]))


def to_float32(tensor: Tensor) -> Tensor:
    """Return a half-precision tensor in float32, any other tensor unchanged."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
