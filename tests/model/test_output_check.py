"""Outputs that look like another activation than the given one are named with the flag that fits; logits are not."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchserve_saliency.errors import ModelError
from torchserve_saliency.images.preprocessing import InputSpec
from torchserve_saliency.model.classifier import dry_run
from torchserve_saliency.model.head_search import HeadOptions
from torchserve_saliency.model.output_check import check_activation

SPEC = InputSpec(size=(16, 16), resize=(16,))
Output = Callable[[Tensor, Tensor], object]
REFUSED, REMARKED, FINE = "refused", "remarked", "fine"
ALREADY = "is probabilities already"


class Net(nn.Module):
    """Features, a linear layer, and a function of its logits and of those of a second layer."""

    def __init__(self, output: Output, classes: int = 4, blocked: bool = False) -> None:
        super().__init__()
        self.conv, self.head, self.other = nn.Conv2d(3, 6, 3), nn.Linear(6, classes), nn.Linear(6, 1)
        self.output, self.blocked = output, blocked

    def forward(self, x: Tensor) -> object:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.blocked):
            features = self.conv(x).relu().mean((2, 3))
        return self.output(self.head(features), self.other(features))


def checked(network: nn.Module, activation: object = None) -> tuple[str, str]:
    """Return the verdict on a network's outputs, and the message."""
    network.eval().requires_grad_(False)
    try:
        heads = dry_run(network, SPEC, HeadOptions(activation=activation))
        remarks = check_activation(network, heads, SPEC, activation)
    except ModelError as error:
        return REFUSED, str(error)
    assert all(not parameter.requires_grad for parameter in network.parameters())
    return (REMARKED, remarks[0]) if remarks else (FINE, "")


def net(output: Output, classes: int = 4, blocked: bool = False) -> Net:
    torch.manual_seed(0)
    return Net(output, classes, blocked)


@pytest.mark.parametrize("classes", [1, 2, 3, 5])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("blocked", [False, True])
def test_logits_of_random_networks_are_no_probabilities_by_chance(classes: int, seed: int, blocked: bool) -> None:
    torch.manual_seed(seed)
    forms: list[Output] = [lambda a, b: a, lambda a, b: a / 3, lambda a, b: torch.cat([b, a], 1) + 0.1]
    for output in forms:
        network = Net(output, classes, blocked)
        assert checked(network) == (FINE, "")
        verdict, message = checked(network, "none")
        assert verdict == REMARKED
        assert "is no probability" in message


FORMS: dict[str, tuple[Output, str, str, str]] = {
    # the verdicts without an activation, with sigmoid, and with none
    "softmax": (lambda a, b: a.softmax(1), REFUSED, REFUSED, FINE),
    "mean of two": (lambda a, b: (a.softmax(1) + (2 * a).softmax(1)) / 2, REFUSED, REFUSED, FINE),
    "exp of log": (lambda a, b: a.log_softmax(1).exp(), REFUSED, REFUSED, FINE),
    "shares": (lambda a, b: a.exp() / a.exp().sum(1, keepdim=True), REFUSED, REFUSED, FINE),
    "sigmoid": (lambda a, b: a.sigmoid(), REFUSED, REFUSED, FINE),
    "hard sigmoid": (lambda a, b: F.hardsigmoid(a), REFUSED, REFUSED, FINE),
    "sigmoids side by side": (lambda a, b: torch.cat([b.sigmoid(), a.sigmoid()], 1), REFUSED, REFUSED, FINE),
    "stacked": (lambda a, b: torch.stack([a[:, 0].sigmoid(), b[:, 0].sigmoid()], 1), REFUSED, REFUSED, FINE),
    "double": (lambda a, b: a.double().sigmoid().float(), REFUSED, REFUSED, FINE),
    "opposite": (lambda a, b: 1 - a.sigmoid(), REMARKED, REMARKED, FINE),
    "clamped": (lambda a, b: a.clamp(0, 1), REMARKED, REMARKED, FINE),
    "log_softmax": (lambda a, b: a.log_softmax(1), FINE, REFUSED, REMARKED),
    "log of softmax": (lambda a, b: (a.softmax(1) + 1e-8).log(), FINE, REFUSED, REMARKED),
    "logsigmoid": (lambda a, b: F.logsigmoid(a), REFUSED, REFUSED, REMARKED),
    "log of sigmoid": (lambda a, b: a.sigmoid().log(), REFUSED, REFUSED, REMARKED),
    "minus softplus": (lambda a, b: -F.softplus(-a), REMARKED, REMARKED, REMARKED),
    "tanh": (lambda a, b: a.tanh(), FINE, FINE, REMARKED),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("blocked", [False, True])
def test_outputs_that_are_no_logits_are_named(form: str, blocked: bool) -> None:
    output, *verdicts = FORMS[form]
    found = [checked(net(output, blocked=blocked), activation)[0] for activation in (None, "sigmoid", "none")]
    assert found == verdicts


@pytest.mark.parametrize(
    ("form", "activation", "advice"),
    [
        ("softmax", None, r"add up to 1 .* softmax would be applied again: --activation none"),
        ("softmax", "sigmoid", r"sigmoid would be applied again: --activation none \(in Python, activation='none'\)"),
        ("sigmoid", None, "ends in a sigmoid.*--activation none"),
        ("sigmoid", "softmax", "lies between 0 and 1.*--activation none"),
        ("log_softmax", "sigmoid", "logarithms.*--activation softmax"),
        ("log_softmax", "none", "logarithms.*--activation softmax"),
        ("logsigmoid", None, "return the logits, and use --activation sigmoid"),
        ("minus softplus", None, "never positive.*return the logits"),
        ("tanh", "none", r"goes from .*--activation softmax .*or sigmoid if several classes may be true"),
    ],
)
def test_the_message_names_the_flag_that_fits(form: str, activation: str | None, advice: str) -> None:
    assert re.search(advice, checked(net(FORMS[form][0]), activation)[1])


@pytest.mark.parametrize("output", [lambda a, b: b.sigmoid(), lambda a, b: b.sigmoid().flatten()])
def test_a_single_probability(output: Output) -> None:
    assert [checked(net(output), each)[0] for each in (None, "sigmoid", "none")] == [REFUSED, REFUSED, FINE]


def test_each_output_has_its_own_activation() -> None:
    network = net(lambda a, b: {"species": a, "disease": a.sigmoid()})
    verdict, message = checked(network, {"species": "softmax"})
    assert verdict == REFUSED
    assert message.startswith("output 'disease' " + ALREADY)
    assert "--activation disease=none" in message
    assert checked(network, {"disease": "none"}) == (FINE, "")
