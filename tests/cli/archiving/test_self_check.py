"""The self-check of an archive refuses networks that cannot be explained, with the reason."""

import re
from pathlib import Path

import pytest
import torch

from tests.archives import returning, unpacked
from torchserve_saliency.errors import ModelError, RequestError
from torchserve_saliency.model.classifier import load_classifier
from torchserve_saliency_cli.archiving.float64 import doubled
from torchserve_saliency_cli.archiving.gradient_check import RefusedError, best_slopes
from torchserve_saliency_cli.archiving.self_check import check

CPU = torch.device("cpu")


BROKEN = {
    "rounded": (
        "logits * 50 + ((logits * 50).round() - logits * 50).detach()",
        "the gradient is not the slope of the output",
    ),
    "constant": ("logits * 0 + 1", "the output is constant"),
    "not a number": ("logits / 0", "not finite"),
    "random": ("logits + torch.randn(4)", "something is random"),
    "mixing": ("logits - logits.mean(0, keepdim=True) + x.mean() + logits", "depend on the other pictures"),
    "dead": ("(logits * 50).round() + 0 * logits", "no gradient of class"),
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
    "detached": "logits.detach()",
    "half detached": "logits + self.head(self.features(x.detach()))",
    "detached, with a gradient of zero": "logits.detach() + 0 * logits",
    "batched": "torch.stack([self.head(f) for f in self.features(x)])",
}


def test_c9_a_network_without_gradients_is_explained_by_a_method_that_needs_none(tmp_path: Path) -> None:
    directory = unpacked(tmp_path, returning("torch.from_numpy(logits.detach().numpy())"))
    figures = check(directory)
    assert (figures["gradients"], figures["method"]) == ("none", "occlusion")
    with pytest.raises(RequestError, match="'grad_cam' needs a gradient") as raised:
        check(unpacked(tmp_path / "cam", returning("torch.from_numpy(logits.detach().numpy())"), method="grad_cam"))
    assert raised.value.status == 422


@pytest.mark.parametrize("name", FINE)
def test_a_network_that_can_be_explained_passes(tmp_path: Path, name: str) -> None:
    figures = check(unpacked(tmp_path, returning(FINE[name])))
    assert float(str(figures["largest_relative_error"])) < 1e-4
    assert float(str(figures["float32_relative_error"])) < 1e-3


@pytest.mark.parametrize(
    ("expression", "handler", "flag"),
    [
        ("logits.softmax(1)", {}, "none"),
        ("logits.softmax(1)", {"activation": "softmax"}, "none"),
        ("logits.softmax(1)", {"activation": "sigmoid"}, "none"),
        ("torch.exp(F.log_softmax(logits, 1))", {}, "none"),
        ("logits.sigmoid()", {}, "none"),
        ("logits[:, :1].sigmoid()", {}, "none"),
        ("logits[:, 0].sigmoid()", {}, "none"),
        ("logits.log_softmax(1)", {"activation": "sigmoid"}, "softmax"),
        ("{'a': logits, 'b': logits.softmax(1)}", {}, "b=none"),
    ],
)
def test_probabilities_that_would_get_an_activation_again_are_refused_a3(
    tmp_path: Path, expression: str, handler: dict[str, object], flag: str
) -> None:
    with pytest.raises(ModelError, match=f"--activation {flag}"):
        check(unpacked(tmp_path, returning(expression), **handler))


@pytest.mark.parametrize(
    ("expression", "handler", "remark"),
    [
        ("logits", {}, None),
        ("logits.log_softmax(1)", {}, None),
        ("logits.softmax(1)", {"activation": "none"}, None),
        ("logits.sigmoid()", {"activation": "none"}, None),
        ("logits[:, :1].sigmoid()", {"activation": "none"}, None),
        ("logits.sigmoid()", {"activation": "softmax"}, "lies between 0 and 1 .*--activation none"),
        ("0.5 + 0.01 * logits.tanh()", {}, "lies between 0 and 1 .*--activation none"),
        ("logits * 10", {"activation": "none"}, "no probability.*--activation softmax"),
        ("logits[:, 0] * 10", {"activation": "none"}, "no probability.*--activation sigmoid"),
    ],
)
def test_outputs_that_look_like_another_activation_are_remarked_a3(
    tmp_path: Path, expression: str, handler: dict[str, object], remark: str | None
) -> None:
    remarks = check(unpacked(tmp_path, returning(expression), **handler), None)["remarks"]
    assert isinstance(remarks, list)
    assert [bool(re.search(remark or "", each)) for each in remarks] == ([True] if remark else [])


def test_an_error_of_two_percent_in_the_gradient_is_found(tmp_path: Path) -> None:
    classifier = load_classifier(unpacked(tmp_path), CPU)
    x = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    with doubled(classifier) as exact:
        leaf = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(exact.forward(leaf)[0, 1], leaf)
        assert best_slopes(exact, x, 1, gradient[0]).error < 1e-6
        assert best_slopes(exact, x, 1, gradient[0] * 1.02).error > 0.015
    assert torch.get_default_dtype() is torch.float32
