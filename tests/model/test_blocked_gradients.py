"""Gradients that a network blocks are restored, and inputs that it overwrites are copied (C9)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.archives import PLAIN, model_file, returning, scripted, seeded, unpacked
from torchserve_saliency.model.blocked_gradients import Adaptation, Gradients, find_adaptation
from torchserve_saliency.model.classifier import Classifier, load_classifier

CPU = torch.device("cpu")
PLAIN_ADAPTATION, RESTORED = Adaptation(), Adaptation(Gradients.RESTORED)
# the code of `features`, and the adaptation that it needs
FEATURES = {
    "plain": ("return self.f(x)", PLAIN_ADAPTATION),
    "no_grad": ("with torch.no_grad():\n            return self.f(x)", RESTORED),
    "inference_mode": ("with torch.inference_mode():\n            return self.f(x)", RESTORED),
    "set_grad_enabled": ("torch.set_grad_enabled(self.training)\n        return self.f(x)", RESTORED),
    "detach": ("return self.f(x).detach()", RESTORED),
    "detach in place": ("return self.f(x).detach_()", RESTORED),
    "detach, frozen": ("return self.f(x).detach().requires_grad_(False)", RESTORED),
    "data": ("return self.f(x.data).data", RESTORED),
    "one of two branches": ("return (self.f(x) + self.f(x).detach()) / 2", RESTORED),
    "a part that does not matter": ("y = self.f(x)\n        return y - y.detach().sum() * 0", PLAIN_ADAPTATION),
    "in place": ("x -= 1\n        x += 1\n        return self.f(x)", Adaptation(overwrites_input=True)),
}
NO_BACKWARD = """
class NoBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2
"""


def with_features(folder: Path, body: str) -> Classifier:
    """Return the classifier of PLAIN with another body of `features`; `f` has the one of PLAIN."""
    code = PLAIN.replace("def features(", "def f(")
    code += f"\n    def features(self, x):\n        {body}\n"
    return load_classifier(unpacked(folder, code), CPU)


def logits_and_gradient(classifier: Classifier) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    kept = x.clone()
    with torch.no_grad():
        classifier.forward(x)
    assert torch.equal(x, kept)
    x.requires_grad_()
    logits = classifier.forward(x)
    (gradient,) = torch.autograd.grad(logits[:, 1].sum(), x)
    return logits.detach(), gradient


@pytest.mark.parametrize("name", FEATURES)
def test_the_gradient_is_that_of_the_network_without_blocks(tmp_path: Path, name: str) -> None:
    body, adaptation = FEATURES[name]
    classifier = with_features(tmp_path / "made", body)
    assert classifier.adaptation == adaptation
    expected = logits_and_gradient(load_classifier(unpacked(tmp_path / "plain"), CPU))
    torch.testing.assert_close(logits_and_gradient(classifier), expected, rtol=1e-4, atol=1e-6)
    assert torch.is_grad_enabled()


def test_a_pass_without_autograd_stays_without(tmp_path: Path) -> None:
    classifier = with_features(tmp_path, FEATURES["no_grad"][0])
    with torch.no_grad():
        assert not classifier.forward(classifier.row()).requires_grad
    with torch.inference_mode():
        assert classifier.forward(classifier.row()).is_inference()


def test_a_straight_through_estimator_keeps_its_gradient(tmp_path: Path) -> None:
    body = "y = self.f(x)\n        return y + ((y * 9).round() / 9 - y).detach()"
    assert with_features(tmp_path, body).adaptation == PLAIN_ADAPTATION


@pytest.mark.parametrize(
    "expression",
    [
        "torch.from_numpy(logits.detach().numpy())",
        "torch.tensor(logits.tolist())",
        "NoBackward.apply(logits)",
    ],
)
def test_a_network_without_a_backward_pass_has_no_gradients(tmp_path: Path, expression: str) -> None:
    classifier = load_classifier(unpacked(tmp_path, NO_BACKWARD + returning(expression)), CPU)
    assert classifier.adaptation.gradients is Gradients.NONE
    assert classifier.layers.names


def test_a_scripted_network_that_detaches_has_no_gradients(tmp_path: Path) -> None:
    network = seeded(model_file(tmp_path, returning("logits.detach()"))).eval()
    example = torch.randn(1, 3, 16, 16)
    loaded = torch.jit.load(scripted(tmp_path / "net.pt", network))
    assert find_adaptation(loaded, example).gradients is Gradients.NONE
