"""Right or wrong: the predictions for a picture, beside its true class.

A picture is right if the most probable class is its true class. With the activation sigmoid, each class is true or not
by itself: there a picture is right if the probability of its true class is at least 0.5. A single output with sigmoid
has two classes whose probabilities add up to 1, so that this is the more probable of the two. If a model has only one
class, its predictions are neither right nor wrong.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import cast

from torchserve_saliency.errors import RequestError
from torchserve_saliency.model.labels import Labels

Json = Mapping[str, object]
TRUE_FROM = 0.5  # probability from which a class of a multi-label model is true
TOP = 3  # predictions of each picture


@dataclass(frozen=True)
class Prediction:
    """A class with its probability."""

    index: int
    label: str
    probability: float


@dataclass(frozen=True)
class Answer:
    """The predictions for a picture, the most probable first, and the probability of its true class, if it is known."""

    predictions: Sequence[Prediction]
    true_probability: float | None = None


@dataclass(frozen=True)
class Model:
    """One output of a served model. `fingerprint` also differs between models of one name and version."""

    name: str
    version: str
    head: str
    is_default_head: bool
    labels: Labels
    activation: str
    fingerprint: str

    @property
    def is_multi_label(self) -> bool:
        """Tell if each class is true or not by itself."""
        return self.activation == "sigmoid"

    def right(self, answer: Answer, index: int | None) -> bool | None:
        """Tell if an answer is right for a picture of this true class; None if nobody can tell."""
        if index is None or len(self.labels) < 2:
            return None
        if self.is_multi_label:
            return None if answer.true_probability is None else answer.true_probability >= TRUE_FROM
        return answer.predictions[0].index == index

    def line(self, name: str, answer: Answer, index: int | None) -> Json:
        """Return the line of a picture: its most probable classes, and if they are right."""
        predictions = [asdict(prediction) for prediction in answer.predictions[:TOP]]
        return {"name": name, "predictions": predictions, "right": self.right(answer, index)}

    def stored_answer(self, predictions: Sequence[Prediction], index: int | None) -> Answer | None:
        """Return the answer that holds these predictions; None if they do not tell if the true class is probable."""
        if not self.is_multi_label or index is None:
            return Answer(predictions)
        probability = next((one.probability for one in predictions if one.index == index), None)
        if probability is None and predictions[-1].probability >= TRUE_FROM:
            return None
        return Answer(predictions, probability or 0.0)

    def fits(self, predictions: Sequence[Prediction]) -> bool:
        """Tell if the classes of predictions are those of this model."""
        return all(
            0 <= one.index < len(self.labels)
            and one.label in (self.labels.names[one.index], self.labels.display(one.index))
            for one in predictions
        )


def read_model(name: str, version: str, head: str, description: Json) -> Model:
    """Return an output of a described model, its default one without a name; raise RequestError 422 for no such one."""
    default = str(description.get("default_head", ""))
    only = {"name": default, "label_names": description["label_names"], "activation": description.get("activation")}
    heads = cast("list[Json]", description.get("heads") or [only])
    found = next((one for one in heads if one["name"] == (head or default)), None)
    if found is None:
        names = ", ".join(str(one["name"]) for one in heads)
        raise RequestError(
            422, "UnknownHeadException", f"there is no head {head[:100]!r}; this network has {names}", "head"
        )
    labels = Labels(tuple(map(str, cast("list[object]", found["label_names"]))))
    fingerprint = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()
    own = str(found["name"])
    return Model(name, version, own, own == default, labels, str(found.get("activation", "softmax")), fingerprint)


def read_predictions(values: object) -> tuple[Prediction, ...]:
    """Return predictions, the most probable first; raise ValueError, KeyError or TypeError for other values."""
    entries = cast("list[Mapping[str, float]]", values or [])
    made = [Prediction(int(entry["index"]), str(entry["label"]), float(entry["probability"])) for entry in entries]
    return tuple(sorted(made, key=lambda prediction: -prediction.probability))
