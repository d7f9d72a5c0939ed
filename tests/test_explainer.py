"""Queries of a batch run together: predictions, maps and errors are the same as for each query alone."""

from __future__ import annotations

import dataclasses
import io
import zipfile
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.networks import SIZE, Modules, classifier, made
from torchserve_saliency.errors import ModelError, RequestError
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.model.archive import Limits
from torchserve_saliency.requests.message import Message
from torchserve_saliency.requests.query import Query, read_query
from torchserve_saliency.responses.explanation import Explanation, Outcome, Prediction


def picture(seed: int, size: tuple[int, int] = (24, 40)) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    return buffer.getvalue()


BATCH: list[dict[str, object]] = [
    {"target": "dog", "reduce": "sum"},
    {"method": "guided_backprop", "target": 3, "against": "runner_up"},
    {"method": "smooth_grad", "samples": 20, "target": "top2", "space": "original"},
    {"target": "no such class"},
    {"method": "integrated_gradients", "steps": 33, "score": "probability", "baseline": "uniform", "reduce": "none"},
    {"method": "grad_cam", "layer": "second", "target": [0, "crane (4)"]},
    {"target": 0, "against": 0},
    {"render": "none", "target": "top5"},
    {"method": "deconvolution", "reduce": "sum", "polarity": "positive"},
]


def read(explainer: Explainer, seed: int, options: dict[str, object], explain: bool = True) -> Query | RequestError:
    try:
        return read_query(Message({"data": picture(seed), **options}, explain=explain), explainer.classifier)
    except RequestError as error:
        return error


def explained(explainer: Explainer, queries: list[Query | RequestError]) -> list[Outcome | RequestError]:
    return explainer.begin(queries).forward().finish()


def assert_same(one: Outcome | RequestError, other: Outcome | RequestError) -> None:
    assert type(one) is type(other)
    if isinstance(one, RequestError):
        assert one.body() == cast(RequestError, other).body()
        return
    if not isinstance(one, Explanation):
        assert_predictions(one, cast(tuple[Prediction, ...], other))
        return
    other = cast(Explanation, other)
    assert_predictions(one.predictions, other.predictions)
    assert (one.method, one.parameters) == (other.method, other.parameters)
    for mine, theirs in zip(one.maps, other.maps, strict=True):
        assert (mine.target.index, mine.against is None) == (theirs.target.index, theirs.against is None)
        np.testing.assert_allclose(mine.saliency, theirs.saliency, rtol=1e-4, atol=1e-7)


def assert_predictions(one: tuple[Prediction, ...], other: tuple[Prediction, ...]) -> None:
    assert [p.label for p in one] == [p.label for p in other]
    np.testing.assert_allclose([p.probability for p in one], [p.probability for p in other], rtol=1e-5)


def test_each_query_of_a_mixed_batch_has_the_same_outcome_as_alone() -> None:
    explainer = Explainer(classifier(made(Modules)))
    queries = [read(explainer, seed, options) for seed, options in enumerate(BATCH)]
    queries.append(read(explainer, 77, {}, explain=False))
    together = explained(explainer, queries)
    types = [type(outcome) for outcome in together]
    assert types.count(RequestError) == 2
    assert types[-1] is tuple
    for query, outcome in zip(queries, together, strict=True):
        assert_same(outcome, explained(explainer, [query])[0])


def test_options_do_not_change_predictions() -> None:
    explainer = Explainer(classifier(made(Modules)))
    (plain,) = explained(explainer, [read(explainer, 5, {}, explain=False)])
    for options in BATCH[:3] + BATCH[4:6] + BATCH[7:]:
        (outcome,) = explained(explainer, [read(explainer, 5, options)])
        assert_predictions(cast(Explanation, outcome).predictions, cast(tuple[Prediction, ...], plain))


def test_the_map_of_a_linear_network_is_its_weights() -> None:
    class Linear(Modules):
        def forward(self, x: Tensor) -> Tensor:
            weight = torch.arange(float(5 * 3 * SIZE * SIZE)).view(5, -1).to(x)
            return x.flatten(1) @ weight.T * 1e-6

    explainer = Explainer(classifier(made(Linear)))
    saliency = explainer.explain(picture(0), target=1, reduce="none").maps[0].saliency
    expected = (torch.arange(3 * SIZE * SIZE) + 3 * SIZE * SIZE).view(3, SIZE, SIZE) * 1e-6
    np.testing.assert_allclose(saliency, expected.numpy(), rtol=1e-6)


def test_the_original_space_is_the_picture_as_sent() -> None:
    explainer = Explainer(classifier(made(Modules)))
    explanation = explainer.explain(picture(0, (24, 40)), space="original")
    saliency = explanation.maps[0].saliency
    assert saliency.shape == (24, 40)
    left, _, right, _ = explanation.picture.crop
    assert not saliency[:, : int(left)].any()
    assert not saliency[:, int(right) + 1 :].any()
    assert saliency.any()


def test_render_none_runs_no_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    explainer = Explainer(classifier(made(Modules)))
    monkeypatch.setattr(torch.autograd, "grad", lambda *a, **k: pytest.fail("a gradient was computed"))
    explanation = explainer.explain(picture(0), render="none", target="top2")
    assert [m.target.index for m in explanation.maps] == [p.index for p in explanation.predictions[:2]]
    assert explanation.maps[0].findings["score"] == pytest.approx(explanation.maps[0].target.logit)


def test_output_that_is_not_finite_is_500_for_that_request_only() -> None:
    class Dark(Modules):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) / (x.amax((1, 2, 3)) > -1.9)[:, None]  # a black picture divides by zero

    buffer = io.BytesIO()
    Image.new("RGB", (20, 20)).save(buffer, "PNG")
    explainer = Explainer(classifier(made(Dark)))
    black = read_query(Message({"data": buffer.getvalue()}, explain=True), explainer.classifier)
    good, bad = explained(explainer, [read(explainer, 1, {}), black])
    assert isinstance(bad, RequestError)
    assert (bad.status, bad.kind) == (500, "NonFiniteException")
    assert_same(good, explained(explainer, [read(explainer, 1, {})])[0])


def test_parameters_and_inputs_hold_no_gradient_afterwards() -> None:
    explainer = Explainer(classifier(made(Modules)))
    query = read(explainer, 0, {})
    assert isinstance(query, Query)
    explained(explainer, [query])
    assert not query.picture.tensor.requires_grad
    assert all(p.grad is None and not p.requires_grad for p in explainer.classifier.network.parameters())


def test_the_batch_size_is_limited_by_memory() -> None:
    network = made(Modules)
    row = classifier(network).row_bytes()
    # two convolutions keep their input, two ReLUs their output; the head keeps almost nothing
    area = SIZE * SIZE * 4
    assert row == pytest.approx((3 + 3 + 8 + 2) * area, rel=0.35)
    assert Explainer(classifier(network, limits=Limits(memory_bytes=5 * row))).capacity == 5
    assert Explainer(classifier(network, limits=Limits(memory_bytes=1))).capacity == 1
    assert Explainer(classifier(network, limits=Limits(max_batch_rows=3))).capacity == 3


def test_an_invalid_default_of_the_archive_is_refused_at_load() -> None:
    with pytest.raises(ModelError, match="samples"):
        Explainer(classifier(made(Modules), samples=0))


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.mar", "w") as archive:
        archive.writestr("hello", "world")
    with pytest.raises(ModelError):
        Explainer.load(tmp_path / "x.mar")


def test_rows_beside_one_another_do_not_change_a_map() -> None:
    explainer = Explainer(classifier(made(Modules)))
    query = read(explainer, 0, {"target": 1, "reduce": "none"})
    assert isinstance(query, Query)
    leaf = query.picture.tensor[None].clone().requires_grad_()
    expected = torch.autograd.grad(explainer.classifier.network(leaf)[0, 1], leaf)[0][0]
    (outcome,) = explained(explainer, [query])
    np.testing.assert_allclose(cast(Explanation, outcome).maps[0].saliency, expected.numpy(), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(("failure", "status"), [(MemoryError(), 507), (ZeroDivisionError("/a/path"), 500)])
def test_a_failure_does_not_affect_other_jobs(monkeypatch: pytest.MonkeyPatch, failure: Exception, status: int) -> None:
    explainer = Explainer(classifier(made(Modules)))

    def failing(*_: object) -> None:
        raise failure

    monkeypatch.setattr("torchserve_saliency.jobs.project", failing)
    good, bad = explained(explainer, [read(explainer, 1, {}), read(explainer, 2, {"space": "original"})])
    assert isinstance(bad, RequestError)
    assert bad.status == status
    assert "path" not in bad.message
    assert_same(good, explained(explainer, [read(explainer, 1, {})])[0])


def test_a_default_layer_that_does_not_exist_is_refused_at_load() -> None:
    with pytest.raises(ModelError, match="nope"):
        Explainer(classifier(made(Modules), layer="nope"))


def test_warm_up_explains_a_picture_and_only_warns_if_it_fails(
    caplog: pytest.LogCaptureFixture,
) -> None:
    explainer = Explainer(classifier(made(Modules)))
    explainer.warm_up(3)
    assert not caplog.records
    two = dataclasses.replace(explainer.classifier.input, mean=(0.5, 0.5), std=(0.5, 0.5))
    explainer.classifier = dataclasses.replace(explainer.classifier, input=two)
    explainer.warm_up(1)
    assert "2 channels" in caplog.text


@pytest.mark.parametrize(("failure", "status"), [(torch.OutOfMemoryError("out of memory"), 507), (OSError("/x"), 500)])
def test_a_failed_transfer_to_the_device_is_an_error(
    monkeypatch: pytest.MonkeyPatch, failure: Exception, status: int
) -> None:
    explainer = Explainer(classifier(made(Modules)))

    def failing(*_: object) -> None:
        raise failure

    monkeypatch.setattr("torchserve_saliency.explainer.network_inputs", failing)
    early = RequestError(400, "X", "early")
    first, second = explained(explainer, [read(explainer, 1, {}), early])
    assert isinstance(first, RequestError)
    assert (first.status, second) == (status, early)
