"""The bare loop and the engine compute the same gradient."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
import torch

from tests.networks import CLASSES, SIZE, Modules, classifier, made
from tests.test_explainer import picture
from tools.benchmark.bare_loop import (
    MEMORY_FORMATS,
    decoder,
    decoding_loop,
    engine_run,
    explanations,
    gradient,
    in_fastest_format,
    inputs,
    queries,
    two_thread_map,
)
from torchserve_saliency.errors import RequestError
from torchserve_saliency.explainer import Explainer


@pytest.fixture
def explainer() -> Explainer:
    return Explainer(classifier(made(Modules)))


def test_the_bare_loop_computes_the_engines_map(explainer: Explainer) -> None:
    model, data = explainer.classifier, [picture(0), picture(1)]
    logits, gradients = gradient(model, inputs(model, map(decoder(model), data)))
    assert logits.shape == (2, CLASSES)
    assert gradients.shape == (2, 3, SIZE, SIZE)
    for row, each in enumerate(data):
        (explanation,) = explanations(explainer, queries(explainer, each, 1))
        assert explanation.predictions[0].index == int(logits[row].argmax())
        np.testing.assert_allclose(explanation.maps[0].saliency, gradients[row].abs().amax(0), rtol=1e-4, atol=1e-7)


def test_the_bare_loop_uses_the_faster_memory_format(explainer: Explainer) -> None:
    for slow, fast in (("contiguous", "channels last"), ("channels last", "contiguous")):
        seconds = {slow: (2.0, 2.0), fast: (5.0, 1.0)}
        with mock.patch("tools.benchmark.bare_loop.time_runs", return_value=seconds):
            copy = in_fastest_format(explainer.classifier)
        assert copy.memory_format is MEMORY_FORMATS[fast]
        assert inputs(copy, [torch.zeros(3, SIZE, SIZE)] * 2).is_contiguous(memory_format=MEMORY_FORMATS[fast])
    assert explainer.classifier.memory_format is torch.contiguous_format
    assert in_fastest_format(explainer.classifier).memory_format in MEMORY_FORMATS.values()


def test_the_bare_loop_does_not_change_its_batch(explainer: Explainer) -> None:
    batch = torch.zeros(1, 3, SIZE, SIZE)
    gradient(explainer.classifier, batch)
    assert not batch.requires_grad


@pytest.mark.parametrize(("batch", "count", "passes"), [(1, 1, [1]), (2, 6, [2, 2, 2]), (3, 3, [3])])
def test_pictures_are_decoded_and_run_in_batches(
    explainer: Explainer, batch: int, count: int, passes: list[int]
) -> None:
    for map_function in (map, two_thread_map()):
        with mock.patch("tools.benchmark.bare_loop.gradient", wraps=gradient) as called:
            decoding_loop(explainer.classifier, picture(0), batch, count, map_function)()
        assert [len(call.args[1]) for call in called.call_args_list] == passes


def test_the_engine_encodes_every_explanation(explainer: Explainer) -> None:
    from torchserve_saliency.responses.encoding import encode

    with mock.patch("tools.benchmark.bare_loop.encode", wraps=encode) as encoded:
        engine_run(explainer, picture(0), 2, 4, {"render": "overlay"})()
    assert [call.args[0].view.render for call in encoded.call_args_list] == ["overlay"] * 4


def test_an_error_of_the_engine_is_raised(explainer: Explainer) -> None:
    batch = queries(explainer, picture(0), 1)
    error = RequestError(500, "InternalServerException", "broken")
    with (
        mock.patch("torchserve_saliency.explainer.Run.finish", return_value=[error]),
        pytest.raises(RequestError, match="broken"),
    ):
        explanations(explainer, batch)
