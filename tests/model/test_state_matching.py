"""The mapping in a checkpoint that fits a network: its place, the prefix of its names, and what is left over."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from torchserve_saliency.errors import ModelError
from torchserve_saliency.model.checkpoint import fill
from torchserve_saliency.model.state_matching import match_state
from torchserve_saliency.model.state_search import state_mappings


def small() -> nn.Module:
    """Return a network with a batch norm, whose counter does not count."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))


NETWORK = small()
STATE: Mapping[str, Tensor] = NETWORK.state_dict()
AVERAGE = {name: value + 1 for name, value in STATE.items()}


def prefixed(prefix: str, state: Mapping[str, Tensor] = STATE) -> dict[str, Tensor]:
    """Return a state dict with a prefix before its names."""
    return {f"{prefix}{name}": value for name, value in state.items()}


def same(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    """Tell whether two state dicts have the same names and values."""
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    "prefix",
    [
        *("", "model.", "net.", "backbone.", "module.", "model._orig_mod.", "_orig_mod.module.", "module._orig_mod."),
        *("module.module.", "lightning.model.backbone.", "_fsdp_wrapped_module.", "network.encoder."),
    ],
)
def test_b1_any_prefix_is_removed(prefix: str) -> None:
    """B1: names of PyTorch Lightning, of DataParallel and of torch.compile."""
    match = match_state(state_mappings({"epoch": 1, "state_dict": prefixed(prefix)}), STATE)
    assert same(match.state, STATE)
    assert match.key == "state_dict"
    assert match.left_over == ()


def test_b1_wrapped_parts_inside_a_network_are_unwrapped() -> None:
    state = {name.replace("1.", "1._orig_mod.", 1): value for name, value in STATE.items()}
    assert same(match_state(state_mappings(state), STATE).state, STATE)


def test_b1_buffers_of_the_loss_and_of_metrics_are_left_over() -> None:
    beside = {
        "criterion.weight": torch.ones(2),
        "loss_fn.pos_weight": torch.ones(2),
        "train_acc.correct": torch.zeros(()),
        "val_confmat.confmat": torch.zeros(2, 2),
        "perceptual_loss.vgg.0.weight": torch.zeros(4, 3, 3, 3),
    }
    for prefix in ("model.", ""):
        match = match_state(state_mappings({"state_dict": prefixed(prefix) | beside}), STATE)
        assert same(match.state, STATE)
        assert match.prefix == prefix
        assert match.left_over == tuple(beside)
        assert match.foreign == ()


def test_layers_beside_the_network_are_foreign_unless_they_are_left_over_by_choice() -> None:
    mappings = state_mappings(prefixed("backbone.") | {"projector.weight": torch.ones(3, 2)})
    assert match_state(mappings, STATE).foreign == ("projector.weight",)
    assert match_state(mappings, STATE, "backbone").foreign == ()


@pytest.mark.parametrize(
    ("key", "others"),
    [
        *(("state_dict_ema", {"state_dict": STATE}), ("ema", {"model": STATE}), ("params_ema", {"params": STATE})),
        *(("model_ema", {"model": STATE}), ("ema_state_dict", {"state_dict": STATE}), ("swa_model", {"model": STATE})),
        ("callbacks.EMA.averaged_state", {"state_dict": prefixed("model.")}),
    ],
)
def test_b3_of_several_the_average_is_taken_and_the_other_can_be_chosen(
    key: str, others: Mapping[str, Mapping[str, Tensor]]
) -> None:
    """B3: an average of the weights (EMA) beside the weights."""
    inner: object = AVERAGE
    for part in reversed(key.split(".")):
        inner = {part: inner}
    assert isinstance(inner, dict)
    mappings = state_mappings({"epoch": 1, **others, **inner})
    (other,) = others
    match = match_state(mappings, STATE)
    assert same(match.state, AVERAGE)
    assert match.is_average
    assert (match.key, [each.partition(":")[0] for each in match.others]) == (key, [other])
    chosen = match_state(mappings, STATE, other)
    assert same(chosen.state, STATE)
    assert not chosen.is_average


@pytest.mark.parametrize("key", ["params", "state_dict", "model", "net", "weights", "anything", "model.state_dict"])
def test_b3_the_only_mapping_is_found_under_any_key(key: str) -> None:
    inner: object = STATE
    for part in reversed(key.split(".")):
        inner = {part: inner, "step": 3}
    optimizer = {"state": {0: {"exp_avg": torch.zeros(4, 3, 3, 3)}}, "param_groups": [{"lr": 0.1}]}
    match = match_state(state_mappings({"optimizer": optimizer, "loss": torch.zeros(()), "run": inner}), STATE)
    assert (match.key, match.others) == (f"run.{key}", ())
    assert same(match.state, STATE)


def test_b3_averages_beside_the_weights_in_one_mapping_are_chosen_by_their_prefix() -> None:
    mappings = state_mappings({"state_dict": prefixed("model.") | prefixed("ema_model.module.", AVERAGE)})
    match = match_state(mappings, STATE)
    assert (match.prefix, match.others, match.foreign) == ("ema_model.module.", ("state_dict:model",), ())
    assert same(match.state, AVERAGE)
    for choice in ("model", "model.", "state_dict:model"):
        assert same(match_state(mappings, STATE, choice).state, STATE)


def test_networks_that_fit_equally_well_are_an_error_that_names_them() -> None:
    mappings = state_mappings({"student": STATE, "teacher": AVERAGE})
    with pytest.raises(ModelError, match="'student', 'teacher'; choose one by --state"):
        match_state(mappings, STATE)
    assert same(match_state(mappings, STATE, "teacher").state, AVERAGE)
    assert same(match_state(state_mappings({"student": STATE, "teacher": dict(STATE)}), STATE).state, STATE)


def test_an_unknown_choice_is_an_error_with_the_known_ones() -> None:
    with pytest.raises(ModelError, match=r"--state 'emma' is nothing .* there are 'state_dict', 'ema'"):
        match_state(state_mappings({"state_dict": STATE, "ema": AVERAGE}), STATE, "emma")


def test_the_shapes_decide_between_equal_names() -> None:
    wide = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(32, 2)).state_dict()
    assert match_state(state_mappings({"a": wide, "b": STATE}), STATE).key == "b"


def test_weights_of_a_part_get_the_prefix_of_the_network() -> None:
    whole = nn.ModuleDict({"model": small()})
    match = match_state(state_mappings(STATE), whole.state_dict())
    assert match.added == "model."
    fill(whole, match.state)
    assert same(whole["model"].state_dict(), STATE)


def test_layout_versions_keep_their_modules() -> None:
    whole = nn.ModuleDict({"model": small()}).state_dict()
    match = match_state(state_mappings({"state_dict": whole}), STATE)
    assert match.state._metadata["1"] == {"version": 2}  # type: ignore[attr-defined]


def test_weights_of_another_network_match_nothing_and_are_refused_when_they_are_loaded() -> None:
    other = nn.Sequential(nn.Linear(5, 5)).state_dict()
    match = match_state(state_mappings({"state_dict": {f"x.{k}": v for k, v in other.items()}}), {"w": torch.ones(2)})
    with pytest.raises(ModelError, match="do not fit the network"):
        fill(nn.Linear(2, 2), match.state)


@pytest.mark.parametrize("key", ["exp_avg", "optimizer.momentum_buffer", "grads"])
def test_states_of_an_optimizer_by_names_of_parameters_are_no_network(key: str) -> None:
    moments: object = {name: torch.zeros_like(value) for name, value in STATE.items()}
    for part in reversed(key.split(".")):
        moments = {part: moments}
    assert isinstance(moments, dict)
    match = match_state(state_mappings({"anything": STATE, **moments}), STATE)
    assert (match.key, match.others) == ("anything", ())


@pytest.mark.parametrize("choice", [None, "shadow"])
def test_b3_an_average_of_the_parameters_gets_the_statistics_of_the_other_weights(choice: str | None) -> None:
    shadow = {name: AVERAGE[name] for name, _ in NETWORK.named_parameters()}
    mappings = state_mappings({"state_dict": prefixed("model.", STATE), "ema": {"decay": 0.9, "shadow": shadow}})
    match = match_state(mappings, STATE, choice)
    assert match.is_average
    assert same(match.state, {**STATE, **shadow})
    assert same(match_state(mappings, STATE, "state_dict").state, STATE)


def test_b3_two_averages_are_an_error_that_names_them() -> None:
    mappings = state_mappings({"model": STATE, "ema": AVERAGE, "swa": {k: v + 2 for k, v in STATE.items()}})
    with pytest.raises(ModelError, match="'ema', 'swa'; choose one by --state"):
        match_state(mappings, STATE)


def test_b3_mmengine_swaps_the_average_and_the_weights() -> None:
    checkpoint = {
        "meta": {"mmengine_version": "0.10.0"},
        "state_dict": AVERAGE,
        "ema_state_dict": {"steps": torch.ones(1), **prefixed("module.")},
    }
    match = match_state(state_mappings(checkpoint), STATE)
    assert same(match.state, AVERAGE)
    assert (match.key, match.others) == ("state_dict.ema", ("state_dict.source:module",))
    assert same(match_state(state_mappings(checkpoint), STATE, "state_dict.source").state, STATE)


def test_other_copies_of_the_network_are_not_left_over() -> None:
    mappings = state_mappings(prefixed("model.") | prefixed("ema.", AVERAGE) | {"ema.loss.weight": torch.ones(2)})
    assert match_state(mappings, STATE).left_over == ("ema.loss.weight",)


def test_counters_of_profilers_are_left_over() -> None:
    match = match_state(state_mappings({**STATE, "0.total_ops": torch.zeros(1)}), STATE)
    assert (match.left_over, match.foreign) == (("0.total_ops",), ())


@pytest.mark.parametrize("name", ["perceptron.weight", "symmetric.weight", "prototypes", "head.weight_g"])
def test_parameters_that_predictions_may_need_are_foreign(name: str) -> None:
    match = match_state(state_mappings(prefixed("backbone.") | {name: torch.ones(10, 16)}), STATE)
    assert match.foreign == (name,)
