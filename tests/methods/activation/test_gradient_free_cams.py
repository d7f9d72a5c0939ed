"""Class activation maps without gradients, compared with plain versions of their papers and pytorch-grad-cam."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.methods.activation.test_grad_cams import Twice, drive_method
from tests.methods.test_methods import SCORES, difference, run
from tests.networks import CLASSES, Modules, classifier, inputs, made
from torchserve_saliency.engine.objective import Objective, Rank
from torchserve_saliency.methods.activation.grad_cams import upsample
from torchserve_saliency.methods.activation.gradient_free_cams import GRADIENT_FREE_CAM_METHODS, GradientFreeCam
from torchserve_saliency.methods.activation.layer_options import strongest_channels
from torchserve_saliency.methods.base import CHUNK, Cost

X = inputs(dtype=torch.float64)
SCORED = [(score, against) for score in SCORES for against in (None, 3)]


class Wide(Twice):
    """A network with more than CHUNK channels at `second`."""

    def __init__(self) -> None:
        super().__init__()
        self.second = nn.Conv2d(8, CHUNK + 4, 3, padding=1, stride=2)
        self.head = nn.Linear(CHUNK + 4, CLASSES)


def wide() -> Wide:
    network = made(Wide, dtype=torch.float64)
    assert isinstance(network, Wide)
    return network


def activation(network: Twice) -> Tensor:
    """Return the output of `again`, the last ReLU, [C, h, w]."""
    return network.second(network.first(X).clamp_min(0)).clamp_min(0)[0]


def enlarged(channel: Tensor) -> Tensor:
    """Return a channel [h, w] upsampled to the input's size, [H, W]."""
    return F.interpolate(channel[None, None], size=(16, 16), mode="bilinear")[0, 0]


Score = Callable[[Tensor], Tensor]


def score_cam_map(network: Wide, tried: Sequence[int], score: Score) -> Tensor:
    """Return Score-CAM's map [H, W] of some channels."""
    channels = activation(network)
    powers = []
    for number in tried:
        mask = enlarged(channels[number])
        mask = (mask - mask.min()) / (mask.max() - mask.min()) if mask.max() > mask.min() else 0 * mask
        powers.append(float(score(network(X * mask)[0]).exp()))
    total = torch.zeros(8, 8, dtype=torch.float64)
    for power, number in zip(powers, tried, strict=True):
        total += power / sum(powers) * channels[number]
    return enlarged(total)


def ablation_cam_map(network: Wide, tried: Sequence[int], score: Score) -> Tensor:
    """Return Ablation-CAM's map [H, W] of some channels."""
    channels = activation(network)
    whole = float(score(network(X)[0]))
    total = torch.zeros(8, 8, dtype=torch.float64)
    for number in tried:
        without = channels.clone()
        without[number] = 0
        total += (whole - float(score(network.head(without.mean((1, 2)))))) / abs(whole) * channels[number]
    return enlarged(total.clamp_min(0))


REFERENCES = {"score_cam": score_cam_map, "ablation_cam": ablation_cam_map}


@pytest.mark.parametrize("method", REFERENCES)
@pytest.mark.parametrize(("score", "against"), SCORED)
def test_a_channel_is_weighted_by_its_effect_on_the_score(method: str, score: str, against: int | None) -> None:
    network = wide()
    found = run(network, method, GradientFreeCam("again"), Objective((0, 2), against, score)).values
    for target, values in zip((0, 2), found, strict=True):
        expected = REFERENCES[method](network, range(CHUNK + 4), difference(SCORES[score], target, against))
        torch.testing.assert_close(values[0], expected, rtol=1e-6, atol=1e-12)
    assert found.any()


def test_for_a_linear_head_over_the_mean_a_channel_is_weighted_by_its_share_of_the_logit() -> None:
    network = wide()
    channels = activation(network)
    shares = network.head.weight[1] * channels.mean((1, 2))
    expected = torch.einsum("k,khw->hw", shares, channels).clamp_min(0) / network(X)[0, 1].abs()
    found = run(network, "ablation_cam", GradientFreeCam("again"), Objective((1,))).values
    torch.testing.assert_close(found[0, 0], enlarged(expected), rtol=1e-6, atol=1e-12)


def test_a_negative_logit_does_not_reverse_ablation_cam() -> None:
    network = wide()
    expected = run(network, "ablation_cam", GradientFreeCam("again"), Objective((1,))).values
    whole = network(X)[0, 1].clone()
    network.head.bias[1] -= 2 * whole
    found = run(network, "ablation_cam", GradientFreeCam("again"), Objective((1,))).values
    torch.testing.assert_close(network(X)[0, 1], -whole)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("method", GRADIENT_FREE_CAM_METHODS)
def test_only_the_strongest_channels_are_used(method: str) -> None:
    network = wide()
    p = GradientFreeCam("again", channels=5)
    assert drive_method(network, method, p, Objective((1, 2))).cost == Cost(6)
    best = activation(network).mean((1, 2)).argsort(descending=True)[:5].tolist()
    found = run(network, method, p, Objective((1,))).values
    torch.testing.assert_close(found[0, 0], REFERENCES[method](network, best, lambda y: y[1]), rtol=1e-6, atol=1e-12)


def test_channels_are_ranked_by_their_mean_absolute_activation() -> None:
    grid = torch.tensor([1.0, 0, -3, -3, 2, 2, 1, 0]).view(1, 4, 1, 2)
    assert strongest_channels(grid, 3).tolist() == [1, 2, 0]
    assert strongest_channels(grid, 9).tolist() == [1, 2, 0, 3]


@pytest.mark.parametrize("method", GRADIENT_FREE_CAM_METHODS)
def test_dead_channels_leave_the_map_finite(method: str) -> None:
    network = wide()
    for values in network.second.parameters():
        values[:3] = 0
    found = run(network, method, GradientFreeCam("again"), Objective((1,))).values
    assert torch.isfinite(found).all()
    assert found.any()


@pytest.mark.parametrize("method", GRADIENT_FREE_CAM_METHODS)
def test_several_layers_are_fused_on_one_scale(method: str) -> None:
    network, objective = wide(), Objective((2,))
    parts = [run(network, method, GradientFreeCam(layer), objective).values for layer in ("first", "again")]
    both = run(network, method, GradientFreeCam("first;again"), objective).values
    torch.testing.assert_close(both, torch.stack([part / part.max() for part in parts]).amax(0))


@pytest.mark.parametrize("method", GRADIENT_FREE_CAM_METHODS)
def test_masked_rows_are_scored_for_the_class_of_the_clean_picture(method: str) -> None:
    network = wide()
    predicted = int(network(X).argmax())
    found = run(network, method, GradientFreeCam("again"), Objective((Rank(0),))).values
    torch.testing.assert_close(found, run(network, method, GradientFreeCam("again"), Objective((predicted,))).values)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("method", "name"), [("score_cam", "ScoreCAM"), ("ablation_cam", "AblationCAM")])
def test_maps_equal_those_of_pytorch_grad_cam(method: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    library = pytest.importorskip("pytorch_grad_cam", reason="pytorch-grad-cam is not installed")
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    # pytorch-grad-cam upsamples masks with align_corners=True, we do not
    monkeypatch.setattr(nn, "UpsamplingBilinear2d", partial(nn.Upsample, mode="bilinear"))
    network, target = wide(), int(predicted_class())
    found = run(network, method, GradientFreeCam("again"), Objective((target,))).values
    layer, targets = network.get_submodule("again"), [ClassifierOutputTarget(target)]
    with getattr(library, name)(network, [layer]) as cam:
        image = cam.get_cam_image(X, layer, targets, activation(network)[None].numpy(), None, False)
    expected = upsample(torch.from_numpy(np.asarray(image))[None].double().clamp_min(0), X)
    assert float((found - expected).abs().max() / expected.max()) < 1e-4
    assert found.any()


def predicted_class() -> Tensor:
    """Return the predicted class, and assert that its logit is positive."""
    logits = wide()(X)[0]
    assert logits.max() > 0
    return logits.argmax()


@pytest.mark.parametrize("method", GRADIENT_FREE_CAM_METHODS)
@pytest.mark.parametrize("layers", ["relu", "second;again"])
def test_a_map_costs_one_forward_pass_per_channel_and_one_more(method: str, layers: str) -> None:
    network, p = made(Modules if layers == "relu" else Twice), GradientFreeCam(layers, channels=8)  # all layers have 8
    bound = GRADIENT_FREE_CAM_METHODS[method].cost(p, classifier(network).input)
    assert drive_method(network, method, p, Objective((0, 1))).cost == bound
