"""Networks for leaves with several diseases on the live server, with the masks of the lesions as the truth for maps.

`diseases` has a logit for each of three diseases, of which a leaf may have any (case A1). `scab` has a single logit:
scab or not (case A2).
"""

from __future__ import annotations

import functools
import io
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms import functional as vision

from tests.leaves import diseases_network, scab_network
from tests.serving import Request, json_of, send
from tools.train_leaves.pictures import ALL_KINDS, PAIRS
from torchserve_saliency_cli.leaves.draw import DISEASES, Leaf, draw
from torchserve_saliency_cli.leaves.network import LeafNet
from torchserve_saliency_cli.torchserve.server import TorchServe

NEW_SEEDS = 3_000_000
LEAVES = tuple(range(24))  # each kind three times
PAIR_LEAVES = tuple(range(100, 112))  # each pair of diseases four times


@functools.cache
def leaf(number: int) -> Leaf:
    """Return a leaf that was not used for training."""
    kinds = PAIRS if number >= PAIR_LEAVES[0] else ALL_KINDS
    return draw(NEW_SEEDS + number, kinds[number % len(kinds)])


def has(number: int) -> set[str]:
    """Return the diseases of a leaf."""
    return {name for name, mask in leaf(number).masks.items() if mask.any()}


def bare_input(number: int) -> Tensor:
    """Return the network's input [1, 3, 224, 224] as torchvision computes it."""
    return vision.normalize(vision.to_tensor(leaf(number).image), [0.5] * 3, [0.5] * 3)[None]


def bare_logits(network: LeafNet, number: int) -> Tensor:
    """Return the logits of the bare network in float32."""
    with torch.inference_mode():
        return network(bare_input(number))[0]


def ask(server: TorchServe, model: str, number: int, **fields: str) -> Any:
    """Return the body of an explanation of a leaf: the object of JSON, or the array of npy."""
    buffer = io.BytesIO()
    leaf(number).image.save(buffer, "PNG")
    reply = send(server, Request(dict(fields), buffer.getvalue(), f"/explanations/{model}/1.0"))
    assert reply.status == 200, reply.body
    return np.load(io.BytesIO(reply.body)) if fields.get("format") == "npy" else json_of(reply)


def probabilities(predictions: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    return {one["label"]: one["probability"] for one in predictions}


@dataclass(frozen=True)
class Shares:
    """The share of a map inside the lesions of its class, and inside those of the other one; and of the picture."""

    own: float
    other: float
    own_area: float
    other_area: float


def shares(saliency: NDArray[np.float32], own: NDArray[np.bool_], other: NDArray[np.bool_]) -> Shares:
    own, other = (_widened(mask) for mask in (own & ~other, other & ~own))
    total = saliency.sum()
    return Shares(saliency[own].sum() / total, saliency[other].sum() / total, own.mean(), other.mean())


def _widened(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a mask with the three pixels around it, which the network reads to see the edge of a spot."""
    planes = torch.from_numpy(mask)[None, None].float()
    return torch.nn.functional.max_pool2d(planes, 7, 1, 3)[0, 0].numpy() > 0


def pair_shares(server: TorchServe, method: str) -> list[Shares]:
    """Return the shares of the maps of both diseases of each leaf that has two."""
    found: list[Shares] = []
    for number in PAIR_LEAVES:
        names = sorted(has(number))
        maps = ask(server, "diseases", number, target=";".join(names), method=method, reduce="sum_abs", format="npy")
        masks = [leaf(number).masks[name] for name in names]
        found += [shares(maps[0], masks[0], masks[1]), shares(maps[1], masks[1], masks[0])]
    return found


def test_a1_probabilities_are_the_sigmoids_of_the_bare_network(server: TorchServe) -> None:
    network, right = diseases_network(), 0
    for number in LEAVES:
        body = ask(server, "diseases", number, target="above0.5", render="none")
        wanted = dict(zip(DISEASES, bare_logits(network, number).double().sigmoid().tolist(), strict=True))
        assert probabilities(body["predictions"]) == pytest.approx(wanted, abs=1e-6)
        above = [one["target"]["label"] for one in body["explanations"]]
        assert above == sorted((n for n in DISEASES if wanted[n] >= 0.5), key=lambda n: -wanted[n])
        right += sum((name in above) == (name in has(number)) for name in DISEASES)
    assert right >= 0.9 * len(LEAVES) * len(DISEASES)


def test_a1_a_healthy_leaf_has_no_class_above_a_half(server: TorchServe) -> None:
    healthy = next(n for n in LEAVES if not has(n) and bare_logits(diseases_network(), n).max() < 0)
    body = ask(server, "diseases", healthy, target="above0.5")
    assert body["explanations"] == []
    assert len(body["predictions"]) == 3


@pytest.mark.parametrize("method", ["gradient", "integrated_gradients", "grad_cam"])
def test_a1_the_map_of_a_disease_lies_on_its_lesions(server: TorchServe, method: str) -> None:
    found = pair_shares(server, method)
    own = np.array([one.own / one.own_area for one in found])
    other = np.array([one.other / one.other_area for one in found])
    assert np.mean(own > other) >= 0.9
    assert np.median(own) > 4
    assert np.median(own / other) > 3


def test_a2_one_logit_tells_scab_or_not(server: TorchServe) -> None:
    network, right = scab_network(), 0
    for number in LEAVES:
        p = float(bare_logits(network, number).double().sigmoid())
        body = ask(server, "scab", number, target="scab;not scab", render="none")
        assert probabilities(body["predictions"]) == pytest.approx({"scab": p, "not scab": 1 - p}, abs=1e-6)
        logits = [one["target"]["logit"] for one in body["explanations"]]
        assert logits[0] == pytest.approx(-logits[1])
        right += (p > 0.5) == ("scab" in has(number))
    assert right >= 0.9 * len(LEAVES)


def test_a2_the_map_of_not_scab_is_that_of_minus_the_logit(server: TorchServe) -> None:
    number = PAIR_LEAVES[0]
    x = bare_input(number).requires_grad_()
    (wanted,) = torch.autograd.grad(-scab_network()(x).sum(), x)
    negative, positive = ask(server, "scab", number, target="not scab;scab", reduce="none", format="npy")
    np.testing.assert_array_equal(negative, -positive)
    assert np.abs(negative - wanted[0].numpy()).max() <= 1e-4 * wanted.abs().max()


def test_a2_the_map_of_scab_lies_on_its_lesions(server: TorchServe) -> None:
    ratios = []
    for number, score in itertools.product(PAIR_LEAVES, ("logit", "probability", "log_probability")):
        if "scab" in has(number):
            (other,) = has(number) - {"scab"}
            (saliency,) = ask(server, "scab", number, target="scab", score=score, reduce="sum_abs", format="npy")
            one = shares(saliency, leaf(number).masks["scab"], leaf(number).masks[other])
            ratios.append((one.own / one.own_area) / (one.other / one.other_area))
    assert np.mean(np.array(ratios) > 1) >= 0.9
    assert np.median(ratios) > 2
