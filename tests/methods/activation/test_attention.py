"""Attention rollout and generic attention, compared with plain float64 versions of both papers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from tests.driving import driven
from tests.methods.test_methods import SCORES, difference
from tests.networks import Modules, classifier, inputs, made
from tests.propagation.test_attention_capture import tiny_vit
from tests.test_explainer import assert_same, explained, picture, read
from torchserve_saliency.engine.network_pass import Pass
from torchserve_saliency.engine.objective import Objective, Rank
from torchserve_saliency.engine.rows import Rows
from torchserve_saliency.errors import RequestError
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.methods import METHODS
from torchserve_saliency.methods.activation.attention import ATTENTION_METHODS, FUSIONS, Rollout
from torchserve_saliency.methods.base import Cost, Maps, NoParameters, Steps, Subject
from torchserve_saliency.model.classifier import Classifier
from torchserve_saliency.requests.describe import describe
from torchserve_saliency.requests.message import Message
from torchserve_saliency.requests.query import read_query

X = inputs(dtype=torch.float64)


class Explicit(nn.Module):
    """A plain transformer that keeps its attention matrices; its head reads all patches if `pooled`, else token 0."""

    def __init__(self, depth: int = 3, prefix: int = 1, pooled: bool = False) -> None:
        super().__init__()
        self.prefix, self.pooled = prefix, pooled
        self.patches = nn.Conv2d(3, 12, 4, stride=4)
        self.first = nn.Parameter(torch.randn(1, prefix, 12))
        self.qkv = nn.ModuleList(nn.Linear(12, 36) for _ in range(depth))
        self.mix = nn.ModuleList(nn.Linear(12, 12) for _ in range(depth))
        self.head = nn.Linear(12, 5)
        self.sharpness = 3.0

    def forward(self, x: Tensor) -> Tensor:
        tokens = torch.cat([self.first.expand(len(x), -1, -1), self.patches(x).flatten(2).transpose(1, 2)], 1)
        self.matrices = []
        for qkv, mix in zip(self.qkv, self.mix, strict=True):
            q, k, v = qkv(tokens).view(*tokens.shape[:2], 3, 2, 6).permute(2, 0, 3, 1, 4)
            self.matrices.append(torch.softmax(self.sharpness * q @ k.transpose(2, 3), -1))
            tokens = tokens + torch.tanh(mix((self.matrices[-1] @ v).transpose(1, 2).flatten(2)))
        return self.head(tokens[:, self.prefix :].mean(1) if self.pooled else tokens[:, 0])


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "class token": Explicit,
    "registers": partial(Explicit, prefix=3),
    "mean": partial(Explicit, prefix=0, pooled=True),
    "mean without the token": partial(Explicit, prefix=1, pooled=True),
}


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest) -> Explicit:
    return explicit(NETWORKS[request.param])


def explicit(make: Callable[[], nn.Module] = Explicit) -> Explicit:
    network = made(make, dtype=torch.float64)
    assert isinstance(network, Explicit)
    return network


def run(network: nn.Module, method: str, objective: Objective, p: object = None, x: Tensor = X) -> Maps:
    """Return a method's maps [T, 1, H, W], from a single pass."""
    model = classifier(network)
    steps = METHODS[method].function(Subject(x, objective, model.input, model.attention), p)
    return single_pass_maps(model, steps)


def single_pass_maps(model: Classifier, steps: Steps) -> Maps:
    """Return the maps of a method, and assert that it makes a single pass."""
    found = driven(model, steps)
    assert len(found.requested) == 1
    return found.value


def to_map(network: Explicit, rolled: Tensor) -> Tensor:
    """Return the map of a rolled-out matrix [t, t], from the tokens that the head reads to the patches."""
    patches = list(range(network.prefix, network.prefix + 16))
    rows = rolled[patches].mean(0) if network.pooled else rolled[0]
    return F.interpolate(rows[patches].view(1, 1, 4, 4), (16, 16), mode="bilinear")[0]


def rollout(network: Explicit, p: Rollout) -> Tensor:
    """Return the map of the product of all layers' attention, as in the paper."""
    network(X)
    rolled = torch.eye(16 + network.prefix, dtype=torch.float64)
    for matrix in network.matrices:
        fused = {"mean": matrix[0].mean(0), "max": matrix[0].max(0)[0], "min": matrix[0].min(0)[0]}[p.head_fusion]
        order = fused.flatten().sort().values
        floor = order[int(len(order) * p.discard_ratio)]  # no two entries are equal
        fused = torch.where(fused < floor, 0.0, fused)
        mixed = 0.5 * fused + 0.5 * torch.eye(len(fused), dtype=torch.float64)
        rolled = (mixed / mixed.sum(-1, keepdim=True)) @ rolled
    return to_map(network, rolled)


@pytest.mark.parametrize("head_fusion", FUSIONS)
@pytest.mark.parametrize("discard_ratio", [0.0, 0.35, 0.99])
def test_attention_rollout(network: Explicit, head_fusion: str, discard_ratio: float) -> None:
    p = Rollout(head_fusion, discard_ratio)
    (found,) = run(network, "attention_rollout", Objective((2,)), p).values
    torch.testing.assert_close(found, rollout(network, p), rtol=1e-9, atol=1e-12)
    assert found.max() > found.min()


def relevance(network: Explicit, score: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the map of R - I, for R ← R + mean of (∇A · A)⁺ · R over all layers, from R = I."""
    logits = network(X.clone().requires_grad_())[0]
    slopes = torch.autograd.grad(score(logits), network.matrices)
    eye = torch.eye(16 + network.prefix, dtype=torch.float64)
    rolled = eye
    for matrix, slope in zip(network.matrices, slopes, strict=True):
        rolled = rolled + (slope[0] * matrix[0]).clamp_min(0).mean(0) @ rolled
    return to_map(network, rolled - eye).detach()


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("against", [None, 3])
def test_generic_attention(network: Explicit, score: str, against: int | None) -> None:
    found = run(network, "generic_attention", Objective((1, 4), against, score)).values
    for target, values in zip((1, 4), found, strict=True):
        expected = relevance(network, difference(SCORES[score], target, against))
        torch.testing.assert_close(values, expected, rtol=1e-6, atol=1e-12)
    assert not torch.allclose(found[0], found[1])


def test_rollout_is_the_same_for_every_class() -> None:
    maps = run(explicit(), "attention_rollout", Objective((0, 1, Rank(0))), Rollout()).values
    assert maps.shape == (3, 1, 16, 16)
    assert torch.equal(maps[0], maps[1])
    assert torch.equal(maps[0], maps[2])


def test_uniform_attention_is_a_uniform_map(network: Explicit) -> None:
    """Every row of the product is a geometric series, uniform among the tokens that the head does not read."""
    network.sharpness = 0.0
    (found,) = run(network, "attention_rollout", Objective((2,)), Rollout()).values
    if not network.pooled:
        expected = (1 - 0.5**3) / (16 + network.prefix)  # attention spreads evenly all but the share of the residuals
        torch.testing.assert_close(found, torch.full_like(found, expected))
    torch.testing.assert_close(found, found.mean().expand_as(found))


def test_attention_of_one_layer_is_half_of_its_row() -> None:
    network = explicit(partial(Explicit, depth=1))
    (found,) = run(network, "attention_rollout", Objective((2,)), Rollout()).values
    network(X)
    half = network.matrices[0][0].mean(0)[0, 1:].view(1, 1, 4, 4) / 2
    torch.testing.assert_close(found, F.interpolate(half, (16, 16), mode="bilinear")[0])


class SelfAttending(Explicit):
    """A transformer in which every token attends only to itself."""

    def forward(self, x: Tensor) -> Tensor:
        tokens = torch.cat([self.first.expand(len(x), -1, -1), self.patches(x).flatten(2).transpose(1, 2)], 1)
        alone = torch.full((2, tokens.shape[1], tokens.shape[1]), -torch.inf, dtype=x.dtype)
        alone.diagonal(dim1=1, dim2=2).zero_()
        tokens = tokens + alone.expand(len(x), -1, -1, -1).softmax(-1)[:, 0] @ tokens
        return self.head(tokens[:, 0])


def test_tokens_that_attend_only_to_themselves_give_an_empty_map() -> None:
    for method, p in (("attention_rollout", Rollout()), ("generic_attention", NoParameters())):
        assert not run(made(SelfAttending, dtype=torch.float64), method, Objective((2,)), p).values.any()


BATCH: list[dict[str, object]] = [
    {"method": "generic_attention", "target": "top2", "reduce": "sum"},
    {"method": "attention_rollout", "target": "top3", "reduce": "sum"},
    {"method": "generic_attention", "target": 3, "against": "runner_up", "score": "probability"},
    {"method": "attention_rollout", "head_fusion": "max", "discard_ratio": 0.5},
    {"method": "gradient", "target": 1},
    {"method": "generic_attention", "target": [0, 4], "space": "original"},
    {"method": "grad_cam", "target": 2},
    {"render": "none", "target": "top5"},
]


@pytest.mark.parametrize("make", [Explicit, tiny_vit])
def test_each_request_of_a_mixed_batch_gets_the_same_map_as_alone(make: Callable[[], nn.Module]) -> None:
    explainer = Explainer(classifier(made(make)))
    queries = [read(explainer, seed, options) for seed, options in enumerate(BATCH)]
    for query, outcome in zip(queries, explained(explainer, queries), strict=True):
        assert not isinstance(outcome, RequestError)
        assert_same(outcome, explained(explainer, [query])[0])


@pytest.mark.parametrize("method", ATTENTION_METHODS)
def test_the_passes_of_a_method_equal_its_cost(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = classifier(made(Explicit))
    seen: list[Rows] = []
    run_whole = Pass.forward

    def counted(self: Pass) -> Pass:
        seen.extend(self.chunks)
        return run_whole(self)

    monkeypatch.setattr(Pass, "forward", counted)
    Explainer(model).explain(picture(1), method=method, target="top3")
    entry = METHODS[method]
    spent = Cost(sum(len(r.inputs) for r in seen), sum(len(r.inputs) for r in seen if r.differentiated))
    assert entry.cost(entry.parameters(), model.input) == spent


def test_parameters_have_bounds() -> None:
    model = classifier(made(Explicit))
    for name, value in (("discard_ratio", 1), ("discard_ratio", -0.1), ("head_fusion", "median")):
        with pytest.raises(RequestError) as refused:
            read_query(Message({"data": picture(1), "method": "attention_rollout", name: value}, explain=True), model)
        assert (refused.value.status, refused.value.option) == (400, name)


def test_convolutional_networks_are_refused_and_not_described() -> None:
    model, transformer = classifier(made(Modules)), classifier(made(Explicit))
    for method in ATTENTION_METHODS:
        with pytest.raises(RequestError) as refused:
            Explainer(model).explain(picture(1), method=method)
        assert (refused.value.status, refused.value.option) == (422, "method")
        assert (
            refused.value.message == f"'{method}' needs self-attention, and this network computes no attention matrix"
        )
        assert method not in describe(model)["methods"]  # type: ignore[operator]
        assert method in describe(transformer)["methods"]  # type: ignore[operator]


def planted_cells(count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return noise [n, 3, 32, 32] with bright cells of 4 by 4 pixels, the classes, and the cells that decide them.

    Two green cells have no meaning. The third bright cell is red for class 0, blue for class 1 and green for class 2.
    """
    generator = torch.Generator().manual_seed(seed)
    x = 0.6 * torch.rand(count, 3, 32, 32, generator=generator)
    classes = torch.arange(count) % 3
    cells = torch.rand(count, 64, generator=generator).argsort(1)[:, :3]
    by_cell = x.unflatten(3, (8, 4)).unflatten(2, (8, 4)).transpose(3, 4).flatten(2, 3)  # [n, 3, 64, 4, 4]
    for row, (own, *green) in enumerate(cells.tolist()):
        for cell, channel in ((own, (0, 2, 1)[row % 3]), *((cell, 1) for cell in green)):
            by_cell[row, :, cell] *= 0.3
            by_cell[row, channel, cell] = 1.0
    x = by_cell.unflatten(2, (8, 8)).transpose(3, 4).flatten(4, 5).flatten(2, 3)
    return (x - 0.5) / 0.25, classes, cells[:, 0]


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    """Return a small vision transformer of torchvision, trained on `planted_cells` for a few seconds."""
    torch.manual_seed(0)
    vit = VisionTransformer(32, 4, num_layers=2, num_heads=2, hidden_dim=32, mlp_dim=64, num_classes=3)
    optimizer = torch.optim.AdamW(vit.parameters(), 3e-3)
    for step in range(120):
        x, classes, _ = planted_cells(60, 1000 + step)
        optimizer.zero_grad()
        F.cross_entropy(vit(x), classes).backward()
        optimizer.step()
    return vit.eval().requires_grad_(False)


@pytest.mark.parametrize(("method", "p"), [("generic_attention", NoParameters()), ("attention_rollout", Rollout())])
def test_the_maximum_of_attention_is_at_the_cell_that_decides_the_class(
    trained: nn.Module, method: str, p: object
) -> None:
    """Explained against the class without such a cell; chance level is 1 in 64, or 1 in 3 among the bright cells."""
    model = classifier(trained, 32)
    x, classes, cells = planted_cells(60, 1)
    assert (trained(x).argmax(1) == classes).float().mean() > 0.95
    hits = []
    for row in (classes < 2).nonzero().flatten().tolist():
        objective = Objective((int(classes[row]),), against=2)
        steps = METHODS[method].function(Subject(x[row, None], objective, model.input, model.attention), p)
        values = single_pass_maps(model, steps).values
        hits.append(int(F.avg_pool2d(values[0], 4).argmax()) == int(cells[row]))
    assert sum(hits) > 0.9 * len(hits)
