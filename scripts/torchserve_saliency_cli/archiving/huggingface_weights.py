"""Networks of `transformers` with their weights: those of their folder, of a checkpoint, or random ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import torch
from torch import nn

from torchserve_saliency.errors import ModelError
from torchserve_saliency.model.state_matching import match_state
from torchserve_saliency.model.state_search import State
from torchserve_saliency_cli.archiving.arguments import ArchiveArguments, UsageError
from torchserve_saliency_cli.archiving.building import checked_match
from torchserve_saliency_cli.archiving.random_weights import with_random_heads
from torchserve_saliency_cli.archiving.weight_files import read_weights

HUGGING_FACE = "hf:"


def network_with_weights(auto: Any, config: Any, args: ArchiveArguments, arch: str) -> nn.Module:
    """Return the network of a configuration with the weights that the arguments name.

    `auto` is the class of transformers that finds the network's class. Raise UsageError if weights are missing.
    """
    torch.manual_seed(args.seed)
    if args.random:
        return with_random_heads(_built(auto, config, arch))
    if args.weights_file:
        network = _built(auto, config, arch)
        state = _matched(read_weights(args.weights_file), network, args)
        return _loaded_with(type(network), arch, None, config=config, state_dict=dict(state))
    if args.weights.upper() != "DEFAULT":
        raise UsageError(f"--weights '{args.weights}' of {arch}: DEFAULT (those of its folder), none, or a file")
    return _loaded_with(auto, arch, arch.removeprefix(HUGGING_FACE), config=config)


def loaded(load: Callable[[], Any], arch: str, part: str) -> Any:
    """Return the result of a loader; raise UsageError, with the remedy, if the hub or the folder does not have it."""
    try:
        return load()
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{part} of {arch} cannot be loaded ({first_line(error)}); give a folder with config.json and "
            "model.safetensors, or download it into the Hugging Face cache (HF_HOME)"
        ) from error


def first_line(error: Exception) -> str:
    """Return the beginning of an error's message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _built(auto: Any, config: Any, arch: str) -> nn.Module:
    """Return the network of a configuration with random weights; raise UsageError for another kind of network."""
    try:
        network: nn.Module = auto.from_config(config)
    except ValueError as error:
        kind = (config.architectures or [config.model_type])[0]
        raise UsageError(f"{arch} is {kind}, which transformers has no image classifier for") from error
    return network.eval()


def _matched(mappings: Mapping[str, State], network: nn.Module, args: ArchiveArguments) -> State:
    """Return the part of a checkpoint that fits a network, by its names in memory or by those in saved files."""
    try:
        return checked_match(mappings, network, args).state
    except ModelError as error:
        try:
            return match_state(mappings, _saved_state(network), args.state).state
        except ModelError:
            raise error from None


def _saved_state(network: nn.Module) -> State:
    """Return the state dict of a network as transformers saves it, under names that may differ from those in memory."""
    with TemporaryDirectory(prefix="names-") as folder:
        cast(Any, network).save_pretrained(folder, max_shard_size="1TB")
        (state,) = read_weights(Path(folder) / "model.safetensors").values()
    return state


def _loaded_with(auto: Any, arch: str, place: str | None, **arguments: object) -> nn.Module:
    """Return the network with the weights of a place or of a state dict; raise UsageError if some are missing."""
    network, report = loaded(
        lambda: auto.from_pretrained(
            place, output_loading_info=True, ignore_mismatched_sizes=True, dtype=torch.float32, **arguments
        ),
        *(arch, "the weights"),
    )
    _check_trained(report, arch)
    return cast(nn.Module, network.eval())


def _check_trained(report: Mapping[str, Any], arch: str) -> None:
    """Raise UsageError if weights are missing or of another shape, which transformers replaces by random ones."""
    if others := sorted(key for key, *_ in report["mismatched_keys"]):
        raise UsageError(
            f"the weights of {arch} have other shapes in {_listed(others)}; --num-classes sets the number of classes"
        )
    if missing := sorted(report["missing_keys"]):
        raise UsageError(
            f"the weights of {arch} lack {_listed(missing)}, and answers would be random: archive a network with a "
            "trained classifier, or say --weights none for a random one"
        )


def _listed(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
