"""Right and wrong predictions, for models of every activation."""

from __future__ import annotations

import pytest

from torchserve_saliency.errors import RequestError
from torchserve_saliency_cli.web.verdicts import Answer, Model, Prediction, read_model, read_predictions

HEADS = [
    {"name": "species", "label_names": ["cat", "dog"], "activation": "softmax"},
    {"name": "tags", "label_names": ["wet", "old"], "activation": "sigmoid"},
]
DESCRIPTION = {"methods": {}, "label_names": ["cat", "dog"], "heads": HEADS, "default_head": "species"}


def model(activation: str, *names: str) -> Model:
    return read_model("m", "1", "", {"label_names": list(names), "activation": activation})


def answer(*probabilities: float, true: float | None = None) -> Answer:
    return Answer([Prediction(index, str(index), value) for index, value in enumerate(probabilities)], true)


@pytest.mark.parametrize("activation", ["softmax", "none"])
def test_the_most_probable_class_is_the_true_one(activation: str) -> None:
    made = model(activation, "cat", "dog")
    assert made.right(answer(0.4, 0.3), 0) is True
    assert made.right(answer(0.4, 0.3), 1) is False
    assert made.right(answer(0.4, 0.3), None) is None


def test_a_true_class_of_a_multi_label_model_is_probable() -> None:
    made = model("sigmoid", "wet", "old", "big")
    assert made.right(answer(0.9, 0.8, true=0.5), 2) is True
    assert made.right(answer(0.9, 0.8, true=0.49), 0) is False
    assert made.right(answer(0.9, 0.8), 0) is None


def test_a_single_output_has_two_classes() -> None:
    made = model("sigmoid", "not scab", "scab")
    assert made.right(answer(0.7, 0.3, true=0.7), 0) is True
    assert made.right(answer(0.7, 0.3, true=0.3), 1) is False


def test_a_model_of_one_class_is_never_right() -> None:
    assert model("none", "size").right(answer(3.0), 0) is None


def test_stored_predictions_tell_if_the_true_class_is_probable_or_not_at_all() -> None:
    made = model("sigmoid", "a", "b", "c", "d")
    high, low = answer(0.9, 0.8).predictions, answer(0.9, 0.2).predictions
    assert made.stored_answer(high, 1) == Answer(high, 0.8)
    assert made.stored_answer(low, 3) == Answer(low, 0.0)
    assert made.stored_answer(high, 3) is None  # it may be the third class above 0.5
    assert made.stored_answer(high, None) == Answer(high)
    assert model("softmax", "a", "b", "c").stored_answer(high, 2) == Answer(high)


def test_predictions_of_another_model_do_not_fit() -> None:
    made = model("softmax", "crane", "crane", "dog")
    assert made.fits([Prediction(0, "crane (0)", 1), Prediction(1, "crane", 1), Prediction(2, "dog", 1)])
    assert not made.fits([Prediction(2, "cat", 1)])
    assert not made.fits([Prediction(3, "dog", 1)])


def test_a_line_has_three_predictions() -> None:
    line = model("softmax", "a", "b", "c", "d").line("x.png", answer(0.4, 0.3, 0.2, 0.1), 1)
    assert line["predictions"] == [
        {"index": i, "label": str(i), "probability": p} for i, p in enumerate((0.4, 0.3, 0.2))
    ]
    assert (line["name"], line["right"]) == ("x.png", False)


def test_the_output_of_a_network_is_chosen_by_its_name() -> None:
    assert read_model("m", "1", "", DESCRIPTION).is_default_head
    tags = read_model("m", "1", "tags", DESCRIPTION)
    assert (tags.labels.names, tags.is_multi_label, tags.is_default_head) == (("wet", "old"), True, False)
    with pytest.raises(RequestError, match="there is no head 'x'; this network has species, tags") as caught:
        read_model("m", "1", "x", DESCRIPTION)
    assert (caught.value.status, caught.value.option) == (422, "head")


def test_models_of_one_name_differ_by_their_descriptions() -> None:
    one, other = (read_model("m", "1", "", {**DESCRIPTION, "self_check": check}) for check in (1, 2))
    assert one.fingerprint != other.fingerprint


@pytest.mark.parametrize("values", [[1], [{"index": 0}], {"index": 0}, [{"index": "x", "label": "", "probability": 1}]])
def test_values_that_are_no_predictions(values: object) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        read_predictions(values)
