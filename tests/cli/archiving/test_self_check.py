"""The self-check of an archive refuses networks that cannot be explained, with the reason."""

from pathlib import Path

import pytest
import torch

from tests.archives import returning, unpacked
from torchserve_saliency.errors import ModelError, RequestError
from torchserve_saliency.model.classifier import load_classifier
from torchserve_saliency_cli.archiving.float64 import doubled
from torchserve_saliency_cli.archiving.self_check import RefusedError, best_slopes, check

CPU = torch.device("cpu")


BROKEN = {
    "rounded": (
        "logits * 50 + ((logits * 50).round() - logits * 50).detach()",
        "the gradient is not the slope of the output",
    ),
    "detached": ("logits.detach()", "the output cannot be differentiated"),
    "constant": ("logits * 0 + 1", "the output is constant"),
    "not a number": ("logits / 0", "not finite"),
    "random": ("logits + torch.randn(4)", "something is random"),
    "mixing": ("logits - logits.mean(0, keepdim=True) + x.mean() + logits", "depend on the other pictures"),
    "half detached": ("logits + self.head(self.features(x.detach()))", "the gradient is not the slope of the output"),
    "dead": ("logits.detach() + 0 * logits", "no gradient of class"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_network_that_cannot_be_explained_is_refused_with_the_reason(tmp_path: Path, name: str) -> None:
    expression, reason = BROKEN[name]
    with pytest.raises((RefusedError, ModelError, RequestError), match=reason):
        check(unpacked(tmp_path, returning(expression)))


FINE = {
    "plain": "logits",
    "steep": "logits * 1e6",
    "flat": "logits * 1e-9",
    "float32 inside": "logits.float() + torch.ones(4, dtype=torch.float32)",
    "smooth": "torch.sin(logits.exp())",
    "batched": "torch.stack([self.head(f) for f in self.features(x)])",
}


@pytest.mark.parametrize("name", FINE)
def test_a_network_that_can_be_explained_passes(tmp_path: Path, name: str) -> None:
    figures = check(unpacked(tmp_path, returning(FINE[name])))
    assert float(str(figures["largest_relative_error"])) < 1e-4
    assert float(str(figures["float32_relative_error"])) < 1e-3


@pytest.mark.parametrize(("expression", "expected"), [("logits.softmax(1)", True), ("logits", False)])
def test_outputs_that_are_probabilities_are_recognised(tmp_path: Path, expression: str, expected: bool) -> None:
    assert check(unpacked(tmp_path, returning(expression)))["sums_to_one"] is expected


def test_an_error_of_two_percent_in_the_gradient_is_found(tmp_path: Path) -> None:
    classifier = load_classifier(unpacked(tmp_path), CPU)
    x = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    with doubled(classifier) as exact:
        leaf = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(exact.forward(leaf)[0, 1], leaf)
        assert best_slopes(exact, x, 1, gradient[0]).error < 1e-6
        assert best_slopes(exact, x, 1, gradient[0] * 1.02).error > 0.015
    assert torch.get_default_dtype() is torch.float32
