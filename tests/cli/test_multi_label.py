"""Networks trained on drawn leaves, archived and explained, with the masks of the lesions as the truth for the maps.

One tells the diseases that a leaf may have together (case A1), the other, of one logit, scab or not (case A2). The same
networks answer on the live server in tests/server/test_multi_label_leaves.py.
"""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from tests.leaves import diseases_network, leaf_archives, scab_network
from tools.train_leaves.pictures import ALL_KINDS, PAIRS
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.requests.message import Message
from torchserve_saliency.requests.query import read_query
from torchserve_saliency_cli.leaves.draw import DISEASES, Leaf, draw

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Explainers:
    """The explainers of the archives of both networks."""

    diseases: Explainer
    scab: Explainer


@pytest.fixture(scope="module")
def explainers(tmp_path_factory: pytest.TempPathFactory) -> Explainers:
    """Archive both networks by the command."""
    folder = tmp_path_factory.mktemp("leaves")
    for model, arguments in leaf_archives(folder).items():
        words = ("--model-name", model.split()[0], "--export-path", str(folder), *arguments)
        command = [sys.executable, str(ROOT / "scripts" / "archive.py"), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "activation  sigmoid" in done.stdout
    return Explainers(Explainer.load(folder / "diseases.mar"), Explainer.load(folder / "scab.mar"))


def png(leaf: Leaf) -> bytes:
    buffer = io.BytesIO()
    leaf.image.save(buffer, "PNG")
    return buffer.getvalue()


def network_input(explainer: Explainer, data: bytes) -> Tensor:
    return read_query(Message({"data": data}), explainer.classifier).picture.tensor[None]


def test_a1_each_disease_has_its_own_probability(explainers: Explainers) -> None:
    explainer, right = explainers.diseases, 0
    for i in range(40):
        present = ALL_KINDS[i % len(ALL_KINDS)]
        data = png(draw(5000 + i, present))
        found = explainer.explain(data, target="above0.5", render="none")
        expected = diseases_network()(network_input(explainer, data))[0].double().sigmoid().tolist()
        ordered = {one.index: one.probability for one in found.predictions}
        assert [ordered[k] for k in range(3)] == pytest.approx(expected, abs=1e-6)
        above = {one.target.label for one in found.maps}
        assert above == {name for name, p in zip(DISEASES, expected, strict=True) if p >= 0.5}
        right += sum((name in above) == (name in present) for name in DISEASES)
    assert right >= 108  # of 120


def test_a1_the_map_of_a_disease_lies_on_its_lesions(explainers: Explainers) -> None:
    ratios = []
    for i in range(12):
        names = PAIRS[i % len(PAIRS)]
        leaf = draw(6000 + i, names)
        found = explainers.diseases.explain(png(leaf), target=list(names), reduce="sum_abs")
        for own, one in enumerate(found.maps):
            on_own, on_other = (one.saliency[leaf.masks[names[k]]].mean() for k in (own, 1 - own))
            ratios.append(float(on_own / on_other))
    assert np.mean(np.array(ratios) > 1) >= 0.9
    assert np.median(ratios) > 2


def test_a2_one_logit_tells_scab_or_not(explainers: Explainers) -> None:
    explainer, right = explainers.scab, 0
    assert explainer.classifier.labels.names == ("not scab", "scab")
    for i in range(24):
        present = ALL_KINDS[i % len(ALL_KINDS)]
        data = png(draw(5000 + i, present))
        p = float(scab_network()(network_input(explainer, data)).double().sigmoid())
        found = explainer.explain(data, target=["scab", "not scab"], reduce="sum")
        scab, other = (one.target.probability for one in found.maps)
        assert [scab, other] == pytest.approx([p, 1 - p], abs=1e-6)
        assert found.predictions[0].label == ("scab" if p > 0.5 else "not scab")
        np.testing.assert_allclose(found.maps[0].saliency, -found.maps[1].saliency)
        right += ("scab" in present) == (p > 0.5)
    assert right >= 21


def test_a2_the_map_of_scab_lies_on_its_lesions(explainers: Explainers) -> None:
    names = ("rust", "scab")
    leaf = draw(6001, names)
    for score in ("logit", "probability", "log_probability"):
        saliency = explainers.scab.explain(png(leaf), target="scab", score=score).maps[0].saliency
        assert saliency[leaf.masks["scab"]].mean() > 2 * saliency[leaf.masks["rust"]].mean()
