"""The heads of a network: found in its output, with their classes, and put side by side."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from torchserve_saliency.errors import ModelError, RequestError
from torchserve_saliency.images.preprocessing import InputSpec
from torchserve_saliency.model.activation import NONE, SIGMOID, SOFTMAX
from torchserve_saliency.model.classifier import dry_run
from torchserve_saliency.model.head_search import HeadOptions
from torchserve_saliency.model.heads import Heads

SPEC = InputSpec((8, 8), (8,), "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
Outputs = namedtuple("Outputs", ["species", "disease"])


class Net(nn.Module):
    """A linear network with an output of any form."""

    def __init__(self, form: Callable[[Tensor, Tensor], object], classes: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(192, classes), nn.Linear(192, 2)
        self.form = form

    def forward(self, x: Tensor) -> object:
        return self.form(self.first(x.flatten(1)), self.second(x.flatten(1)))


def heads_of(network: nn.Module, **options: object) -> Heads:
    return dry_run(network, SPEC, HeadOptions(**options))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Form:
    """A form of the logits [n, classes] in an output."""

    make: Callable[[Tensor, Tensor], object]
    classes: int


SHAPES = {
    "[n, 3]": Form(lambda a, b: a, 3),
    "[n, 3, 1, 1]": Form(lambda a, b: a[:, :, None, None], 3),
    "[n, 1, 3]": Form(lambda a, b: a[:, None], 3),
    "squeezed": Form(lambda a, b: a.squeeze(), 3),
    "[n, 1]": Form(lambda a, b: a, 1),
    "[n]": Form(lambda a, b: a[:, 0], 1),
    "[n, 1, 1, 1]": Form(lambda a, b: a[:, :, None, None], 1),
    "[] for one picture": Form(lambda a, b: a.squeeze(), 1),
    "in a dictionary": Form(lambda a, b: {"out": a.squeeze(), "loss": a.sum()}, 1),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("rows", [1, 2, 3, 5])
def test_c6_logits_are_taken_in_any_shape_of_one_row_per_picture(name: str, rows: int) -> None:
    form = SHAPES[name]
    network = Net(form.make, form.classes)
    heads, x = heads_of(network), torch.randn(rows, 3, 8, 8)
    z = network.first(x.flatten(1))
    expected = torch.cat([-z, z], 1) if form.classes == 1 else z
    torch.testing.assert_close(heads.forward(network)(x), expected)
    assert heads.default.activation is (SIGMOID if form.classes == 1 else SOFTMAX)


def test_a_plain_network_is_its_own_forward_function() -> None:
    network = Net(lambda a, b: a)
    assert heads_of(network).forward(network) is network


def test_a2_a_single_output_has_two_classes() -> None:
    network = Net(lambda a, b: a, 1)
    for labels, names in [
        (None, ("negative", "positive")),
        (("scab",), ("not scab", "scab")),
        (("healthy", "scab"), ("healthy", "scab")),
    ]:
        assert heads_of(network, labels=labels).default.labels.names == names


def test_a3_a_single_probability_has_two_classes_and_another_score_one() -> None:
    x = torch.randn(3, 3, 8, 8)
    network = Net(lambda a, b: a.sigmoid(), 1)
    heads = heads_of(network, activation="none", labels=("scab",))
    p = network(x)
    assert heads.default.labels.names == ("not scab", "scab")
    torch.testing.assert_close(heads.forward(network)(x), torch.cat([1 - p, p], 1).double(), rtol=1e-6, atol=1e-7)
    network = Net(lambda a, b: a, 1)
    heads = heads_of(network, activation="none", labels=("age",))
    assert heads.default.labels.names == ("age",)
    assert heads.forward(network) is network


FORMS: dict[str, Callable[[Tensor, Tensor], object]] = {
    "dict": lambda a, b: {"embedding": a.repeat(1, 9), "species": a, "disease": b},
    "namedtuple": Outputs,
}


@pytest.mark.parametrize("form", FORMS)
def test_c8_every_output_that_holds_logits_is_a_head(form: str) -> None:
    network, x = Net(FORMS[form]), torch.randn(2, 3, 8, 8)
    heads = heads_of(network, activation={"disease": "sigmoid"}, labels=("a", "b", "c"))
    assert heads.names == ("species", "disease")
    assert heads.default.name == "species"
    assert [head.labels.names for head in heads] == [("a", "b", "c"), ("0", "1")]
    assert [head.activation for head in heads] == [SOFTMAX, SIGMOID]
    logits = heads.forward(network)(x)
    torch.testing.assert_close(heads.find("disease").columns.of(logits), network.second(x.flatten(1)))


def test_c8_the_labels_name_the_heads_and_logits_the_default_one() -> None:
    network = Net(FORMS["dict"])
    heads = heads_of(network, head_labels={"disease": ("rust", "scab")})
    assert (heads.names, heads.default.name) == (("disease",), "disease")
    assert heads.default.labels.names == ("rust", "scab")
    assert heads_of(network, key="disease").default.name == "disease"
    assert heads_of(network, key="embedding").names == ("embedding", "species", "disease")
    assert heads_of(Net(Outputs), key=1).default.name == "disease"
    assert heads_of(network, labels=("rust", "scab")).default.name == "disease"  # as many as its classes


def test_c8_a_head_is_found_by_name_and_position() -> None:
    named, tuples = (
        heads_of(Net(FORMS["dict"])),
        heads_of(Net(lambda a, b: (a[:, :, None, None, None].repeat(1, 1, 1, 2, 2), a, b))),
    )
    assert [named.find(name).name for name in (None, "disease", "Disease", 1, "1", 0)] == [
        *("species", "disease", "disease", "disease", "disease", "species")
    ]
    assert tuples.names == ("1", "2")
    assert [tuples.find(name).name for name in (None, 1, "2")] == ["1", "1", "2"]
    unknown: list[tuple[Heads, str | int]] = [(named, "leaf"), (named, 2), (tuples, 0), (tuples, "3")]
    for heads, name in unknown:
        with pytest.raises(RequestError, match=f"this network has {', '.join(heads.names)}") as raised:
            heads.find(name)
        assert (raised.value.status, raised.value.option) == (422, "head")


@pytest.mark.parametrize("options", [{"activation": {"leaf": "none"}}, {"head_labels": {"leaf": ("a",)}}])
def test_c8_a_head_that_does_not_exist_is_named_at_archiving(options: dict[str, object]) -> None:
    with pytest.raises(ModelError, match="there is no head 'leaf'; this network has species, disease"):
        heads_of(Net(FORMS["dict"]), **options)


def test_an_activation_of_none_keeps_the_outputs() -> None:
    network, x = Net(lambda a, b: a.softmax(1)), torch.randn(2, 3, 8, 8)
    heads = heads_of(network, activation="none")
    assert heads.default.activation is NONE
    torch.testing.assert_close(heads.forward(network)(x), network(x).double(), rtol=1e-6, atol=1e-7)


def test_an_output_for_one_picture_of_another_size_is_an_error() -> None:
    with pytest.raises(ModelError, match="3 values per picture for two pictures, but"):
        heads_of(Net(lambda a, b: a if len(a) > 1 else torch.cat([a, b], 1)))


@pytest.mark.parametrize(
    "form",
    [
        lambda a, b: b.T,  # [classes, pictures], which is square for two pictures
        lambda a, b: a - a.mean(0),
        lambda a, b: a + torch.rand(3),
    ],
)
def test_c6_an_output_without_one_row_per_picture_is_an_error(form: Callable[[Tensor, Tensor], object]) -> None:
    with pytest.raises(ModelError, match="does not have the logits of the first in its first row"):
        heads_of(Net(form))
