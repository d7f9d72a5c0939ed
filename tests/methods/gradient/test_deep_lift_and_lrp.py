"""DeepLIFT and layer-wise relevance propagation, compared with Captum and closed forms; completeness."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.driving import driven
from tests.methods.test_methods import X, png, run  # noqa: F401
from tests.networks import CLASSES, Flat, Functional, InPlace, Modules, Six, Tokens, classifier, inputs, made
from torchserve_saliency.engine.objective import Objective, Rank
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.methods import METHODS
from torchserve_saliency.methods.base import NoParameters, Subject
from torchserve_saliency.methods.baselines import baseline
from torchserve_saliency.methods.gradient.deep_lift import DeepLift
from torchserve_saliency.methods.gradient.lrp import Lrp
from torchserve_saliency.requests.message import Message

SCORES = ("logit", "probability", "log_probability")


class Pooled(Modules):
    """A network with max pooling in overlapping windows."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.relu(self.first(x)), 3, 2, 1)
        return self.head(F.adaptive_max_pool2d(F.relu_(self.second(x)), 1).flatten(1))


class Gated(Modules):
    """A network with squeeze and excitation, and other products."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.silu(self.first(x))
        x = x * self.second(F.adaptive_avg_pool2d(x, 1)).sigmoid()
        x *= torch.tanh(x)
        return self.head(F.gelu(x).mean((2, 3)))


class Normed(Tokens):
    """A network with norms, a quotient, attention and softmax."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.group_norm(self.patches(x), 3).flatten(2).transpose(1, 2)
        x = F.normalize(self.norm(x), dim=-1) / (1 + x.abs().mean(-1, keepdim=True))
        x = x + self.attention(x, x, x, need_weights=False)[0]
        return self.head(F.log_softmax(x.mean(1), -1))


NETWORKS = [Modules, Functional, InPlace, Six, Tokens, Flat, Pooled, Gated, Normed]


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("against", [None, 3])
def test_deep_lift_is_complete(make: Callable[[], nn.Module], score: str, against: int | None) -> None:
    network = made(make, dtype=torch.float64)
    maps = run(network, "deep_lift", DeepLift("uniform"), Objective((1, 4), against, score))
    assert len(maps.findings) == len(maps.values) == 2
    for found, values in zip(maps.findings, maps.values, strict=True):
        assert abs(found["completeness_gap"]) < 1e-9
        assert abs(found["score_difference"] - float(values.sum())) < 1e-9
        assert found["score_difference"] != 0


def without_biases(network: nn.Module) -> nn.Module:
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            parameter.zero_()
    return network


@pytest.mark.parametrize(("method", "parameters"), [("deep_lift", DeepLift()), ("lrp", Lrp(epsilon=1e-12))])
def test_for_relus_without_biases_the_map_is_gradient_times_input(method: str, parameters: object) -> None:
    """Ancona et al. 2018 show this for a zero baseline and an epsilon of zero."""
    network = without_biases(made(Modules, dtype=torch.float64))
    found = run(network, method, parameters, Objective((1, 4), 3))
    expected = run(network, "gradient_x_input", NoParameters(), Objective((1, 4), 3)).values
    torch.testing.assert_close(found.values, expected, rtol=1e-6, atol=1e-12)
    assert all(abs(one["completeness_gap"]) < 1e-8 for one in found.findings)


@pytest.mark.parametrize(("method", "parameters"), [("deep_lift", DeepLift("white")), ("lrp", Lrp())])
def test_for_a_linear_network_the_map_is_weight_times_input_minus_baseline(method: str, parameters: object) -> None:
    network = made(lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, CLASSES)), dtype=torch.float64)
    found = run(network, method, parameters, Objective((2,)))
    weight = network[1].weight[2].view(1, 3, 16, 16)  # type: ignore[index]
    start = 2.0 if method == "deep_lift" else 0.0  # white is (1 - 0.5) / 0.25
    torch.testing.assert_close(found.values, weight * (X - start), rtol=1e-6, atol=1e-12)


def layers(nonlinearity: Callable[[], nn.Module], pool: nn.Module, flatten: bool = True) -> nn.Module:
    """Return a network with pooling after linear layers; Captum is wrong for pooling right after a nonlinearity."""
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3, padding=1), pool, nn.Conv2d(8, 8, 3, padding=1), nonlinearity(), nn.AvgPool2d(2)),
        *(nn.Conv2d(8, 6, 4), nonlinearity(), nn.Flatten(), nn.Linear(6, CLASSES)),
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", [nn.ReLU, nn.LeakyReLU, nn.ELU, nn.Sigmoid, nn.Tanh, nn.Softplus])
@pytest.mark.parametrize("start", ["zero", "uniform"])
def test_deep_lift_equals_captum(kind: Callable[[], nn.Module], start: str) -> None:
    attr = pytest.importorskip("captum.attr", reason="captum is not installed")
    network = made(lambda: layers(kind, nn.MaxPool2d(2)), dtype=torch.float64)
    ours = run(network, "deep_lift", DeepLift(start), Objective((2,))).values
    begins = baseline(start, X, classifier(network).input)
    theirs = attr.DeepLift(network).attribute(X.clone(), baselines=begins, target=2)
    torch.testing.assert_close(ours, theirs.detach(), rtol=1e-5, atol=1e-10)


class Unbroken(nn.Module):
    """A network of layers that Captum's relevance propagation supports."""

    def __init__(self, nonlinearity: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.one, self.two, self.three = nonlinearity(), nonlinearity(), nonlinearity()
        self.pool, self.mean = nn.MaxPool2d(2), nn.AvgPool2d(2)
        self.body, self.head = nn.Linear(128, 10), nn.Linear(10, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.one(self.first(x)))
        x = self.mean(self.two(self.second(x)))
        return self.head(self.three(self.body(x.flatten(1))))


# Captum's two other rules equal those of the papers only if no activation is negative and no bias is positive
CAPTUM_RULES = [
    ("epsilon", nn.ReLU, X, {}),
    ("epsilon", nn.Tanh, X, {}),
    ("epsilon", nn.ReLU, X, {"epsilon": 0.1}),
    ("gamma", nn.ReLU, X.abs(), {}),
    ("gamma", nn.ReLU, X.abs(), {"gamma": 0.7}),
    ("alpha1_beta0", nn.ReLU, X.abs(), {}),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("rule", "kind", "x", "constants"), CAPTUM_RULES)
def test_lrp_equals_captum(rule: str, kind: Callable[[], nn.Module], x: Tensor, constants: dict[str, float]) -> None:
    attr = pytest.importorskip("captum.attr", reason="captum is not installed")
    rules = pytest.importorskip("captum.attr._utils.lrp_rules", reason="captum is not installed")
    network = made(lambda: Unbroken(kind), dtype=torch.float64)
    if rule == "alpha1_beta0":
        without_biases(network)
    ours = run(network, "lrp", Lrp(rule, **constants), Objective((2,)), x).values
    names = {"epsilon": rules.EpsilonRule, "gamma": rules.GammaRule, "alpha1_beta0": rules.Alpha1_Beta0_Rule}
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.rule = names[rule](**constants)
    theirs = attr.LRP(network).attribute(x.clone(), target=2)
    assert ours.any()
    torch.testing.assert_close(ours, theirs.detach(), rtol=1e-5, atol=1e-10)


def test_relevance_plus_the_part_absorbed_by_biases_is_the_score() -> None:
    network = made(Modules, dtype=torch.float64)
    (found,) = run(network, "lrp", Lrp(), Objective((2,))).findings
    shift = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    with torch.enable_grad():  # the derivative of the score along all biases is their contribution
        biases = {n: p * (1 + shift) if n.endswith("bias") else p for n, p in network.named_parameters()}
        score = torch.func.functional_call(network, biases, X)[0, 2]
    absorbed = torch.autograd.grad(score, shift)[0]
    assert abs(found["completeness_gap"] + float(absorbed)) < 1e-8


@pytest.mark.parametrize(("method", "parameters"), [("deep_lift", DeepLift("blur")), ("lrp", Lrp("gamma"))])
def test_each_of_several_targets_gets_the_same_map_as_alone(method: str, parameters: object) -> None:
    network = made(Gated, dtype=torch.float64)
    predicted, second, *_, other = network(X)[0].argsort(descending=True).tolist()
    for score in SCORES:
        together = run(network, method, parameters, Objective((Rank(0), second), other, score)).values
        for target, values in zip((predicted, second), together, strict=True):
            alone = run(network, method, parameters, Objective((target,), other, score)).values[0]
            torch.testing.assert_close(values, alone, rtol=1e-9, atol=1e-12)


def test_each_request_of_a_mixed_batch_gets_the_same_map_as_alone(png: bytes) -> None:  # noqa: F811
    explainer = Explainer(classifier(made(Pooled)))
    batch: list[dict[str, Any]] = [
        {"method": "deep_lift", "target": 1},
        {"method": "lrp", "target": 2},
        {"method": "gradient"},
        {"method": "deep_lift", "baseline": "uniform", "seed": 3, "target": 3, "against": 0},
        {"method": "lrp", "rule": "gamma", "target": 2},
        {"method": "deep_lift", "score": "probability", "target": "top2"},
        {"method": "grad_cam", "target": 1},
        {"method": "lrp", "epsilon": 0.1, "target": 2},
    ]
    queries = [explainer.read(Message({"data": png, "reduce": "sum", **one}, explain=True)) for one in batch]
    together = explainer.begin(queries).finish()
    for one, found in zip(batch, together, strict=True):
        alone = explainer.explain(png, reduce="sum", **one)
        for a, b in zip(alone.maps, found.maps, strict=True):  # type: ignore[union-attr]
            torch.testing.assert_close(torch.tensor(b.saliency), torch.tensor(a.saliency), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("score", SCORES)
def test_the_class_predicted_for_the_baseline_may_be_against(score: str) -> None:
    network = made(Flat, dtype=torch.float64)
    assert isinstance(network, Flat)
    bias, logits, start = network.head.bias, network(X)[0], network(torch.zeros_like(X))[0]
    against = int((logits - start).argmin())
    bias[against] += (logits.max() - logits[against]) / 2 + start.max() - start[against]
    bias[against] -= max(0.0, float(network(X)[0, against] - logits.max()) + 0.01)
    assert int(network(torch.zeros_like(X)).argmax()) == against != int(network(X).argmax())
    assert run(network, "deep_lift", DeepLift(), Objective((Rank(0),), against, score)).values.any()


@pytest.mark.parametrize(
    ("method", "parameters", "score"),
    [("deep_lift", DeepLift(), "logit"), ("deep_lift", DeepLift(), "probability"), ("lrp", Lrp(), "logit")],
)
def test_the_cost_is_an_upper_bound(method: str, parameters: object, score: str) -> None:
    model = classifier(made(Modules))
    steps = METHODS[method].function(Subject(inputs(), Objective((1,), None, score), model.input), parameters)
    spent = driven(model, steps).cost
    bound = METHODS[method].cost(parameters, model.input)
    assert spent.forwards <= bound.forwards <= spent.forwards + 1
    assert spent.backwards == bound.backwards
