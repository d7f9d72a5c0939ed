"""Rows through the network: pooled from all requests, forward once, backward once a target, split where memory ends.

The engine alone knows of batches, devices, memory and autograd.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saliency.errors import RequestError
from saliency.model import Classifier
from saliency.objective import Pairs, evaluate
from saliency.rows import Answer, Rows
from saliency.taps import gridded, listened


@dataclass(frozen=True)
class _Settled:
    """A piece's classes, its scores [T, n] and its cotangents [T, n, K]."""

    pairs: tuple[Pairs, ...]
    scores: NDArray[np.float64]
    cotangents: NDArray[np.float64]


class Pass:
    """One batch on its way: `forward` leaves logits and graph, `backward` the answers, an answer for each piece."""

    def __init__(self, classifier: Classifier, pieces: Sequence[Rows]) -> None:
        self.classifier = classifier
        self.pieces = list(pieces)
        self.logits: Tensor | None = None
        self.tapped: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        return sum(len(piece.inputs) for piece in self.pieces)

    def forward(self) -> Pass:
        """Run the network on all rows at once."""
        device, memory_format = self.classifier.device, self.classifier.memory_format
        batch = self.pieces[0].inputs if len(self.pieces) == 1 else torch.cat([p.inputs for p in self.pieces])
        self.inputs = batch.to(device=device, memory_format=memory_format)
        self.outputs, self.activations = self._run() if self.pieces[0].differentiated else self._predict()
        self.logits = widened(self.outputs.detach().cpu())
        return self

    def _predict(self) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the logits, without autograd, and what is tapped."""
        if all(piece.plain for piece in self.pieces):
            with torch.inference_mode():
                return self.classifier.forward_plain(self.inputs), {}
        with torch.no_grad():
            return self._listening(cut=False)

    def _run(self) -> tuple[Tensor, dict[str, Tensor]]:
        """Return logits with their graph, and what is tapped."""
        to_input = any(piece.to_input for piece in self.pieces)
        # the input may be a caller's own tensor: it is not marked, an alias of it is
        self.inputs = self.inputs.detach().requires_grad_(to_input)
        with torch.enable_grad():
            if all(piece.plain for piece in self.pieces):
                return self.classifier.forward_plain(self.inputs), {}
            return self._listening(cut=not to_input)

    def _listening(self, cut: bool) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the logits and what is tapped."""
        logits, found, tapped = listened(self.classifier, self.pieces, self.inputs, cut)
        self.tapped = tuple(tapped)
        return logits, {**found, **tapped}

    def backward(self) -> list[Answer | RequestError]:
        """Return each piece's answer; the graph is spent."""
        assert self.logits is not None
        settled = [self._settle(piece, logits) for piece, logits in zip(self.pieces, self._split(), strict=True)]
        gradients = self._gradients(settled) if self.pieces[0].differentiated else {}
        answers = [self._answer(i, start, s, gradients) for i, (start, s) in enumerate(self._starts(settled))]
        del self.outputs, self.activations, self.inputs
        return answers

    def _split(self) -> tuple[Tensor, ...]:
        """Return each piece's logits."""
        assert self.logits is not None
        parts: tuple[Tensor, ...] = self.logits.split([len(piece.inputs) for piece in self.pieces])
        return parts

    def _starts(self, settled: list[_Settled | RequestError]) -> list[tuple[int, _Settled | RequestError]]:
        """Return each piece's first row beside what it settled."""
        starts = [0]
        for piece in self.pieces:
            starts.append(starts[-1] + len(piece.inputs))
        return list(zip(starts, settled, strict=False))

    @staticmethod
    def _settle(piece: Rows, logits: Tensor) -> _Settled | RequestError:
        """Return the classes, scores and cotangents of a piece's rows."""
        if piece.objective is None:
            return _Settled(((),) * len(logits), np.zeros((0, len(logits))), np.zeros((0, *logits.shape)))
        try:
            pairs = tuple(piece.objective.settled(row) for row in logits)
        except RequestError as error:
            return error
        scored = [
            [evaluate(row, pair, piece.objective.score) for row, pair in zip(logits, t, strict=True)]
            for t in zip(*pairs, strict=True)
        ]
        scores = np.array([[value for value, _ in rows] for rows in scored])
        return _Settled(pairs, scores, np.array([[slope for _, slope in rows] for rows in scored]))

    def _gradients(self, settled: list[_Settled | RequestError]) -> dict[str | None, Tensor]:
        """Return gradients [T, N, …] of all rows with respect to the input (None) and to each layer."""
        depth = max((len(s.scores) for s in settled if isinstance(s, _Settled)), default=0)
        wanted: dict[str | None, Tensor] = {}
        mode = self.pieces[0].mode
        silent = () if mode is None or mode.taps else self.tapped
        wanted.update((name, tensor) for name, tensor in self.activations.items() if name not in silent)
        if self.inputs.requires_grad:
            wanted[None] = self.inputs
        rounds = [self._round(settled, t, list(wanted.values()), t + 1 < depth) for t in range(depth)]
        return {name: torch.stack(grads) for name, grads in zip(wanted, zip(*rounds, strict=True), strict=False)}

    def _round(self, settled: list[_Settled | RequestError], t: int, wanted: list[Tensor], keep: bool) -> list[Tensor]:
        """Return the gradients of every row's target number t."""
        cotangent = np.zeros(self.outputs.shape)
        for piece, (start, s) in zip(self.pieces, self._starts(settled), strict=True):
            if isinstance(s, _Settled) and t < len(s.cotangents):
                cotangent[start : start + len(piece.inputs)] = s.cotangents[t]
        # a cotangent of 1e-8 would sink in half precision on its way back, so it travels at full height
        scale = np.abs(cotangent).max(1) / self.classifier.precision.loss_scale
        travelling = torch.from_numpy(cotangent / np.where(scale > 0, scale, 1)[:, None]).to(self.outputs)
        grads = torch.autograd.grad(
            self.outputs, wanted, travelling, retain_graph=keep, allow_unused=True, materialize_grads=True
        )
        if ((scale == 1) | (scale == 0)).all():
            return [widened(grad) for grad in grads]
        heights = torch.from_numpy(scale.astype(np.float32)).to(self.outputs.device)
        return [widened(grad) * heights.view(-1, *[1] * (grad.dim() - 1)) for grad in grads]

    def _answer(
        self, index: int, start: int, settled: _Settled | RequestError, gradients: dict[str | None, Tensor]
    ) -> Answer | RequestError:
        """Return one piece's share of the batch."""
        if isinstance(settled, RequestError):
            return settled
        piece = self.pieces[index]
        assert self.logits is not None
        rows = slice(start, start + len(piece.inputs))
        answer = Answer(self.logits[rows], settled.pairs, torch.from_numpy(settled.scores))
        if piece.plain:
            gradient = gradients[None][: len(settled.scores), rows] if piece.differentiated else None
            return replace(answer, gradient=gradient)
        slopes = {name: gradient[: len(settled.scores), rows] for name, gradient in gradients.items()}
        own = {n: widened(self.activations[n].detach()[rows]) for n in (*piece.layers, *self.tapped)}
        try:
            on_grids = gridded(own, slopes, piece)
        except RequestError as error:
            return error
        return replace(
            answer,
            gradient=slopes.get(None) if piece.to_input else None,
            activations=on_grids[0],
            gradients=on_grids[1],
        )


def widened(tensor: Tensor) -> Tensor:
    """Return a tensor of half precision in float32, any other as it is."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
