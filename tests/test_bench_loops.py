"""The bare loop and the engine do the same work: the same gradient of the same picture."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
import torch

from saliency.errors import RequestError
from saliency.explainer import Explainer
from scripts.bench.loops import (
    FORMATS,
    decoder,
    decoding_loop,
    engine,
    explained,
    fastest,
    gradient,
    in_two_threads,
    inputs,
    queries,
)
from tests.networks import CLASSES, SIZE, Modules, classifier, made
from tests.test_explainer import picture


@pytest.fixture
def explainer() -> Explainer:
    return Explainer(classifier(made(Modules)))


def test_the_bare_loop_finds_the_engines_map(explainer: Explainer) -> None:
    model, data = explainer.classifier, [picture(0), picture(1)]
    logits, found = gradient(model, inputs(model, map(decoder(model), data)))
    assert logits.shape == (2, CLASSES)
    assert found.shape == (2, 3, SIZE, SIZE)
    for row, each in enumerate(data):
        (explanation,) = explained(explainer, queries(explainer, each, 1))
        assert explanation.predictions[0].index == int(logits[row].argmax())
        np.testing.assert_allclose(explanation.maps[0].saliency, found[row].abs().amax(0), rtol=1e-4, atol=1e-7)


def test_the_bare_loop_runs_in_the_faster_memory_format(explainer: Explainer) -> None:
    for slow, fast in (("contiguous", "channels last"), ("channels last", "contiguous")):
        seconds = {slow: (2.0, 2.0), fast: (5.0, 1.0)}
        with mock.patch("scripts.bench.loops.measured", return_value=seconds):
            found = fastest(explainer.classifier)
        assert found.memory_format is FORMATS[fast]
        assert inputs(found, [torch.zeros(3, SIZE, SIZE)] * 2).is_contiguous(memory_format=FORMATS[fast])
    assert explainer.classifier.memory_format is torch.contiguous_format
    assert fastest(explainer.classifier).memory_format in FORMATS.values()


def test_the_bare_loop_leaves_its_batch_as_it_was(explainer: Explainer) -> None:
    batch = torch.zeros(1, 3, SIZE, SIZE)
    gradient(explainer.classifier, batch)
    assert not batch.requires_grad


@pytest.mark.parametrize(("batch", "count", "passes"), [(1, 1, [1]), (2, 6, [2, 2, 2]), (3, 3, [3])])
def test_pictures_are_decoded_and_run_in_batches(
    explainer: Explainer, batch: int, count: int, passes: list[int]
) -> None:
    for each in (map, in_two_threads()):
        with mock.patch("scripts.bench.loops.gradient", wraps=gradient) as ran:
            decoding_loop(explainer.classifier, picture(0), batch, count, each)()
        assert [len(call.args[1]) for call in ran.call_args_list] == passes


def test_the_engine_encodes_every_explanation(explainer: Explainer) -> None:
    from saliency.response import encode

    with mock.patch("scripts.bench.loops.encode", wraps=encode) as encoded:
        engine(explainer, picture(0), 2, 4, {"render": "overlay"})()
    assert [call.args[0].view.render for call in encoded.call_args_list] == ["overlay"] * 4


def test_a_refused_request_is_no_time(explainer: Explainer) -> None:
    asked = queries(explainer, picture(0), 1)
    refusal = RequestError(500, "InternalServerException", "broken")
    with (
        mock.patch("saliency.explainer.Run.finish", return_value=[refusal]),
        pytest.raises(RequestError, match="broken"),
    ):
        explained(explainer, asked)
