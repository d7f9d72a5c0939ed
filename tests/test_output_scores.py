"""Probabilities, scores and maps follow the meaning of the network's outputs: cases A1, A2, A3 and C6."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.outputs import FORMS, LABELS, explainer, network_input, reference
from tests.test_explainer import picture
from torchserve_saliency.engine.objective import SCORES
from torchserve_saliency.errors import ModelError, RequestError
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.methods import METHODS
from torchserve_saliency.methods.base import Shows
from torchserve_saliency.requests.compatibility import unsupported_reason


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("against", [None, 0])
def test_probabilities_and_gradients_equal_plain_autograd(
    tmp_path: Path, form: str, score: str, against: int | None
) -> None:
    made = explainer(tmp_path, form)
    data = picture(3)
    found = made.explain(data, target=1, against=against, score=score, reduce="none", top_k=9)
    probabilities, gradient = reference(tmp_path, network_input(made, data), form, score, 1, against)
    ordered = {one.index: one.probability for one in found.predictions}
    assert [ordered[i] for i in range(len(ordered))] == pytest.approx(probabilities.tolist(), abs=1e-6)
    assert list(ordered.values()) == sorted(ordered.values(), reverse=True)
    error = (torch.from_numpy(found.maps[0].saliency).double() - gradient).norm() / gradient.norm()
    assert error < 2e-3
    assert found.maps[0].target.probability == pytest.approx(float(probabilities[1]), abs=1e-6)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("score", SCORES)
def test_deep_lift_adds_up_for_every_activation_and_score(tmp_path: Path, form: str, score: str) -> None:
    made = explainer(tmp_path, form)
    found = made.explain(picture(3), method="deep_lift", target=[0, 1], score=score, reduce="sum", baseline="black")
    for one in found.maps:
        scale = abs(one.findings["score_difference"]) + float(np.abs(one.saliency).max())
        assert abs(one.findings["completeness_gap"]) <= 1e-4 * scale
        assert one.saliency.any()


def test_a2_a_probability_of_almost_one_has_an_accurate_map(tmp_path: Path) -> None:
    made = explainer(tmp_path, "a2 one logit, saturated")
    logit = made.explain(picture(1), target="positive", reduce="sum")
    for score in ("probability", "log_probability"):
        found = made.explain(picture(1), target="positive", score=score, reduce="sum")
        z = found.maps[0].target.logit
        p, q = 1 / (1 + math.exp(-z)), 1 / (1 + math.exp(z))
        slope = p * q if score == "probability" else q
        np.testing.assert_allclose(found.maps[0].saliency, logit.maps[0].saliency * slope, rtol=1e-4)
        assert found.maps[0].target.probability == pytest.approx(p, abs=1e-12)


@pytest.mark.parametrize(
    ("labels", "names"),
    [(None, ["negative", "positive"]), (("scab",), ["not scab", "scab"]), (("healthy", "scab"), ["healthy", "scab"])],
)
def test_a2_a_single_logit_has_two_classes_that_oppose_each_other(
    tmp_path: Path, labels: tuple[str, ...] | None, names: list[str]
) -> None:
    made = explainer(tmp_path, "a2 one logit", labels)
    found = made.explain(picture(2), target=names, reduce="sum")
    no, yes = (one.target for one in found.maps)
    assert [no.label, yes.label] == names
    assert no.logit == -yes.logit
    assert no.probability + yes.probability == pytest.approx(1, abs=1e-15)
    np.testing.assert_allclose(found.maps[0].saliency, -found.maps[1].saliency)
    versus = made.explain(picture(2), target=1, against="runner_up" if yes.logit > 0 else 0, reduce="sum")
    np.testing.assert_allclose(versus.maps[0].saliency, 2 * found.maps[1].saliency, rtol=1e-5)


@pytest.mark.parametrize("form", ["a1 multi-label", "a2 one logit", "a3 softmax"])
def test_every_method_explains_every_activation(tmp_path: Path, form: str) -> None:
    made = explainer(tmp_path, form)
    for name, method in METHODS.items():
        if unsupported_reason(name, made.classifier) is None and method.shows is Shows.SALIENCY:
            cheap: dict[str, Any] = {"samples": 5} if hasattr(method.parameters, "samples") else {}
            cheap |= {"steps": 3} if hasattr(method.parameters, "steps") else {}
            score: dict[str, Any] = {"score": "probability"} if method.class_specific else {}
            found = made.explain(picture(4), method=name, target=1, reduce="sum", **cheap, **score)
            assert np.isfinite(found.maps[0].saliency).all()


@pytest.mark.parametrize("form", ["a1 multi-label", "a2 one logit", "a3 sigmoid"])
def test_quality_measures_the_probabilities_of_the_activation(tmp_path: Path, form: str) -> None:
    made = explainer(tmp_path, form)
    found = made.explain(picture(4), target=1, quality=True)
    quality = found.maps[0].quality
    assert quality is not None
    x = network_input(made, picture(4))
    mean = x.mean((2, 3), keepdim=True).expand_as(x)
    start, end = (reference(tmp_path, each, form, "logit", 1, None)[0][1] for each in (x, mean))
    deletion = quality["deletion_mean"]
    assert isinstance(deletion, Mapping)
    low, high = sorted([float(start), float(end)])
    assert low - 0.2 <= float(deletion["value"]) <= high + 0.2  # type: ignore[arg-type]


def test_a3_the_logarithm_of_an_output_that_is_not_positive_is_refused(tmp_path: Path) -> None:
    made = explainer(tmp_path, "logits - 10", activation="none")
    with pytest.raises(RequestError, match="only a positive output has a logarithm") as raised:
        made.explain(picture(1), score="log_probability")
    assert (raised.value.status, raised.value.option) == (422, "score")


def test_a3_a_network_in_memory_that_ends_in_softmax_is_refused_with_the_argument_that_fits() -> None:
    logits = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 4))
    options: dict[str, Any] = {"size": 16, "resize": 16, "mean": (0.5,) * 3, "std": (0.5,) * 3, "labels": LABELS}
    with pytest.raises(ModelError, match=r"add up to 1 .*\(in Python, activation='none'\)"):
        Explainer.of(nn.Sequential(logits, nn.Softmax(1)), **options)
    found = Explainer.of(nn.Sequential(logits, nn.Softmax(1)), activation="none", **options).explain(picture(1))
    plain = Explainer.of(logits, **options).explain(picture(1))
    ours, theirs = ([one.probability for one in each.predictions] for each in (found, plain))
    assert ours == pytest.approx(theirs, abs=1e-6)
    with pytest.warns(UserWarning, match="lies between 0 and 1"):
        Explainer.of(nn.Sequential(logits, nn.Hardtanh(0.1, 0.4)), **options)
