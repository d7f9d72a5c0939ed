"""Maps from elsewhere have the figures that a request's own maps would have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import pytest

from saliency.errors import RequestError
from saliency.explainer import Explainer
from saliency.quality import SCORES
from saliency.scoring import score_map, score_maps
from tests.networks import SIZE, Modules, classifier, made
from tests.test_explainer import picture

RNG = np.random.default_rng(4)
MAPS = {name: RNG.random((SIZE, SIZE)).astype(np.float32) for name in ("one", "two")}


@pytest.fixture
def explainer() -> Explainer:
    return Explainer(classifier(made(Modules)))


def test_a_map_sent_back_has_the_figures_that_it_was_sent_with(explainer: Explainer) -> None:
    explanation = explainer.explain(picture(1), target=2, method="grad_cam", quality=True)
    sent = cast(Mapping[str, Any], explanation.maps[0].quality)
    again = score_map(explainer, picture(1), 2, explanation.maps[0].saliency)
    assert list(again) == list(SCORES)
    assert (again["max_sensitivity"], again["completeness_gap"]) == (None, None)
    for name in set(SCORES) - {"max_sensitivity", "completeness_gap"}:
        assert again[name] == pytest.approx(sent[name]["value"], rel=1e-4, abs=1e-9)


def test_maps_scored_together_are_scored_as_alone(explainer: Explainer) -> None:
    together = score_maps(explainer, picture(1), "predicted", MAPS, ("road", "deletion_blur"))
    for name, saliency in MAPS.items():
        alone = score_map(explainer, picture(1), "predicted", saliency, ("road", "deletion_blur"))
        assert together[name] == pytest.approx(alone, rel=1e-4)
        assert list(alone) == ["road", "deletion_blur"]


@pytest.mark.parametrize(("target", "status"), [("top2", 400), ("no such class", 422)])
def test_a_target_that_is_no_class_is_refused(explainer: Explainer, target: str, status: int) -> None:
    with pytest.raises(RequestError) as refused:
        score_maps(explainer, picture(1), target, MAPS)
    assert (refused.value.status, refused.value.option) == (status, "target")


def test_a_map_of_another_size_is_refused(explainer: Explainer) -> None:
    with pytest.raises(ValueError, match="do not lie on the input"):
        score_map(explainer, picture(1), 0, np.zeros((8, 8), np.float32))
