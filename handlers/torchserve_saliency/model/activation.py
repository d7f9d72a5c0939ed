"""The meaning of a network's outputs: the probability of each class, and the scores that are explained.

This is the only place that turns outputs into probabilities. All values are float64, because softmax and sigmoid in
float32 round a probability of 1 - 1e-8 to 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from torchserve_saliency.errors import ModelError, RequestError

Vector = NDArray[np.float64]
Values = TypeVar("Values", Tensor, Vector)
LogProbability = Callable[[Vector, int], tuple[float, Vector]]


@dataclass(frozen=True)
class Activation:
    """The function from the outputs [K] of a network to the probabilities [K] of its classes.

    `log_probability` returns the logarithm of one class's probability, and its gradient in the outputs [K]. If
    `identity` is true, an output is a probability (or any other score) already.
    """

    name: str
    probabilities: Callable[[Vector], Vector]
    log_probability: LogProbability
    identity: bool = False

    def explains_output(self, score: str) -> bool:
        """Tell if a score of option `score` is an output of the network itself."""
        return score == "logit" or (self.identity and score == "probability")

    def score(self, outputs: Vector, index: int, score: str) -> tuple[float, Vector]:
        """Return the score of one class, and its gradient in the outputs [K]."""
        if self.explains_output(score):
            return float(outputs[index]), one_hot(outputs, index)
        logarithm, gradient = self.log_probability(outputs, index)
        if score == "log_probability":
            return logarithm, gradient
        probability = float(self.probabilities(outputs)[index])
        return probability, probability * gradient


def one_hot(outputs: Vector, index: int) -> Vector:
    """Return the vector [K] that is 1 at `index` and else 0."""
    vector = np.zeros_like(outputs)
    vector[index] = 1.0
    return vector


def _softmax(outputs: Vector) -> Vector:
    powers = np.exp(outputs - outputs.max())
    probabilities: Vector = powers / powers.sum()
    return probabilities


def _log_softmax(outputs: Vector, index: int) -> tuple[float, Vector]:
    others = _softmax(outputs)
    others[index] = 0.0
    shifted = outputs - outputs.max()
    # 1 - p as the sum of the other classes: the difference is 0 if p is within 1e-16 of 1
    gradient = one_hot(outputs, index) * others.sum() - others
    return float(shifted[index] - np.log(np.exp(shifted).sum())), gradient


def _sigmoid(outputs: Vector) -> Vector:
    power = np.exp(-np.abs(outputs))
    probabilities: Vector = np.where(outputs >= 0, 1.0, power) / (1.0 + power)
    return probabilities


def _log_sigmoid(outputs: Vector, index: int) -> tuple[float, Vector]:
    output = outputs[index]
    logarithm = np.minimum(output, 0.0) - np.log1p(np.exp(-np.abs(output)))
    return float(logarithm), one_hot(outputs, index) * _sigmoid(-outputs)[index]  # 1 - p without cancellation


def _log_output(outputs: Vector, index: int) -> tuple[float, Vector]:
    """Return the logarithm of an output and its gradient; raise RequestError 422 if the output is not positive."""
    output = outputs[index]
    if output <= 0:
        message = (
            f"the network's output for class {index} is {output:.6g} here, and only a positive output has a "
            "logarithm: ask for score=probability"
        )
        raise RequestError(422, "LogarithmException", message, "score")
    return float(np.log(output)), one_hot(outputs, index) / output


SOFTMAX = Activation("softmax", _softmax, _log_softmax)
SIGMOID = Activation("sigmoid", _sigmoid, _log_sigmoid)
NONE = Activation("none", lambda outputs: outputs.copy(), _log_output, identity=True)
ACTIVATIONS: Mapping[str, Activation] = MappingProxyType({each.name: each for each in (SOFTMAX, SIGMOID, NONE)})


def find_activation(name: object, outputs: int) -> Activation:
    """Return the activation of that name, or the default for this number of outputs if the name is None.

    The default is sigmoid for a single output, else softmax. Raise ModelError for an unknown name, and for softmax of a
    single output.
    """
    if name is None:
        return SIGMOID if outputs == 1 else SOFTMAX
    activation = ACTIVATIONS.get(name) if isinstance(name, str) else None
    if activation is None:
        raise ModelError(f"unknown activation {name!r}; it must be one of {', '.join(ACTIVATIONS)}")
    if activation is SOFTMAX and outputs == 1:
        raise ModelError(
            "the softmax of a single output is 1 for every picture: the activation must be sigmoid, or none if the "
            "network puts out a probability"
        )
    return activation


@dataclass(frozen=True)
class Columns:
    """The columns `start` to `stop` of a network's logits [n, W]: the classes of one head, with their activation."""

    start: int = 0
    stop: int | None = None
    activation: Activation = SOFTMAX

    def of(self, logits: Values) -> Values:
        """Return these columns of logits [..., W], as a view."""
        return logits[..., self.start : self.stop]

    def probabilities(self, logits: Tensor) -> Vector:
        """Return the probabilities [K] of the classes, for the logits [W] of one row."""
        return self.activation.probabilities(_float64(self.of(logits)))

    def score(self, logits: Tensor, index: int, score: str) -> tuple[float, Vector]:
        """Return the score of class `index` and its gradient [W], for the logits [W] of one row."""
        gradient = np.zeros(len(logits))
        value, self.of(gradient)[:] = self.activation.score(_float64(self.of(logits)), index, score)
        return value, gradient


ALL_COLUMNS = Columns()  # of a network with a single head, with softmax


def _float64(values: Tensor) -> Vector:
    converted: Vector = values.numpy().astype(np.float64)
    return converted
