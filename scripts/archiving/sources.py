"""Where a network comes from: torchvision, timm, or a file of the user's; with weights, labels and preprocessing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models

from saliency.errors import ModelError
from saliency.image import InputSpec
from saliency.labels import near_matches
from saliency.networks import TIMM, build_network, own_network, scripted_network, timm_module, torchvision_names
from saliency.weights import State, fill
from scripts.archiving.arguments import UsageError, Wanted
from scripts.archiving.files import download, read_weights
from scripts.archiving.preprocessing import changed_input, timm_input, torchvision_input
from scripts.archiving.random_weights import settle_norms, wakened

IMAGENET = 1000
_TRANSFORMING = ("googlenet", "inception_v3")  # published weights of these take ImageNet's normalisation and undo it


@dataclass(frozen=True)
class Source:
    """A network with its weights, and what the archive says of it; `labels` None where nobody knows them."""

    network: nn.Module
    input: InputSpec
    labels: tuple[str, ...] | None
    arch: str | None = None
    arguments: Mapping[str, object] | None = None


def find_source(wanted: Wanted) -> Source:
    """Return the network that is wanted; UsageError or ModelError says why it cannot be had."""
    source = _found(wanted)
    if wanted.weights_file is None and wanted.weights.lower() == "none":
        settle_norms(source.network, source.input)
    return source


def _found(wanted: Wanted) -> Source:
    """Return the network that is wanted, from where it comes."""
    if wanted.model_file:
        return _own(wanted, wanted.model_file)
    if wanted.arch is None:
        return _scripted(wanted)
    return _timm(wanted, wanted.arch) if wanted.arch.startswith(TIMM) else _torchvision(wanted, wanted.arch.lower())


def _own(wanted: Wanted, path: Path) -> Source:
    """Return the user's own network."""
    torch.manual_seed(wanted.seed)
    network = own_network(path)
    if wanted.weights_file:
        fill(network, read_weights(wanted.weights_file))
    elif wanted.weights.lower() != "none":
        raise UsageError(f"--weights '{wanted.weights}' is no file; your own network has no weights by name")
    return Source(network, _own_input(wanted), wanted.labels)


def _scripted(wanted: Wanted) -> Source:
    """Return the network of a TorchScript file, which is described as the user's own is."""
    assert wanted.weights_file is not None
    return Source(scripted_network(wanted.weights_file), _own_input(wanted), wanted.labels)


def _own_input(wanted: Wanted) -> InputSpec:
    """Return the input of the user's own network; what the command line does not say of it is as for ImageNet."""
    size = wanted.size or (224, 224)
    return changed_input(InputSpec(size, (max(size),)), wanted)


def _torchvision(wanted: Wanted, arch: str) -> Source:
    """Return one of torchvision's classifiers."""
    if arch not in torchvision_names():
        near = [*near_matches(arch, torchvision_names()), *_near_timm(arch)]
        raise UsageError(f"torchvision has no classifier '{arch}'{_meant(near)}")
    state, entry = _torchvision_weights(wanted, arch)
    spec = torchvision_input(entry)
    arguments = _torchvision_arguments(arch, state, spec, wanted)
    network, arguments = _with_state(lambda a: build_network(arch, a), arguments, state, wanted, IMAGENET)
    classes = arguments.get("num_classes", IMAGENET)
    names = tuple(entry.meta["categories"]) if classes == len(entry.meta["categories"]) else None
    return Source(network, changed_input(spec, wanted), wanted.labels or names, arch, arguments)


def _torchvision_weights(wanted: Wanted, arch: str) -> tuple[State | None, Any]:
    """Return the state dict (None for random weights), and the entry whose metadata describe it best."""
    entries = {entry.name: entry for entry in models.get_model_weights(arch)}
    default = models.get_model_weights(arch).DEFAULT
    if path := wanted.weights_file:
        published = [entry for entry in entries.values() if Path(entry.url).name == path.name]
        return read_weights(path), _as_float((published or [default])[0])
    if wanted.weights.lower() == "none":
        return None, _as_float(default)
    name = wanted.weights.split(".")[-1]
    if name.upper() != "DEFAULT" and name.upper() not in entries:
        raise UsageError(f"'{arch}' has no weights '{name}': there are DEFAULT, none, {', '.join(entries)}, or a file")
    entry = _as_float(entries.get(name.upper(), default))
    return download(entry.url), entry


def _as_float(entry: Any) -> Any:
    """Return the float weights that quantized ones were made from, or the weights themselves."""
    return entry.meta.get("unquantized", entry)


def _torchvision_arguments(arch: str, state: State | None, spec: InputSpec, wanted: Wanted) -> dict[str, object]:
    """Return what the builder must be told for the weights to fit and to be read as they were trained."""
    arguments: dict[str, object] = {}
    if state is not None and arch.removeprefix("quantized_") in _TRANSFORMING:
        arguments["transform_input"] = True
        arguments["aux_logits"] = any(key.lower().startswith("aux") for key in state)
    if arch.startswith("vit_"):
        arguments["image_size"] = (wanted.size or spec.size)[0]
    return {**arguments, **wanted.arguments}


def _timm(wanted: Wanted, arch: str) -> Source:
    """Return one of timm's classifiers."""
    with timm_module() as timm:
        name = _timm_name(timm, arch.removeprefix(TIMM), wanted)
        config = timm.get_pretrained_cfg(name)
        sized = {"img_size": wanted.size} if wanted.size and config.fixed_input_size else {}
        arguments = {**sized, **wanted.arguments}
        state = _timm_state(timm, name, arguments, wanted)
        classes = config.num_classes
        network, arguments = _with_state(lambda a: build_network(TIMM + name, a), arguments, state, wanted, classes)
        spec = changed_input(timm_input(timm.data.resolve_data_config({}, model=network), wanted), wanted)
        names = _timm_labels(timm, int(arguments.get("num_classes", classes)))  # type: ignore[call-overload]
        return Source(network, spec, wanted.labels or names, TIMM + name, arguments)


def _timm_name(timm: Any, name: str, wanted: Wanted) -> str:
    """Return timm's name of the network, with the tag of the weights where one is asked for."""
    base = name.split(".")[0]
    if not timm.is_model(base):
        raise UsageError(f"timm has no network '{base}'{_meant(near_matches(base, timm.list_models()))}")
    tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{base}.*")]
    tag = name.partition(".")[2]
    if wanted.weights_file is None and wanted.weights.upper() not in ("DEFAULT", "NONE"):
        tag = wanted.weights
    if tag and tag not in tags:
        raise UsageError(f"timm's '{base}' has no weights '{tag}': there are {', '.join(tags) or 'none'}")
    return f"{base}.{tag}" if tag else base


def _timm_state(timm: Any, name: str, arguments: Mapping[str, object], wanted: Wanted) -> State | None:
    """Return the state dict that is wanted, None for random weights; UsageError where it cannot be had.

    Pretrained weights come from the Hugging Face cache if they are there.
    """
    if wanted.weights_file:
        return read_weights(wanted.weights_file)
    if wanted.weights.lower() == "none":
        return None
    try:
        network: nn.Module = timm.create_model(name, pretrained=True, **arguments)
    except Exception as error:
        hub = timm.get_pretrained_cfg(name).hf_hub_id or "no repository"
        raise UsageError(
            f"the pretrained weights of timm's '{name}' cannot be had ({type(error).__name__}: {error}); download "
            f"{hub} into the Hugging Face cache (HF_HOME), or give --weights a file"
        ) from error
    return network.state_dict()


def _timm_labels(timm: Any, classes: int) -> tuple[str, ...] | None:
    """Return ImageNet's class names where the classes are as many as one of its sets has."""
    if classes == IMAGENET:
        return tuple(models.ResNet50_Weights.DEFAULT.meta["categories"])
    subset = timm.data.infer_imagenet_subset({"num_classes": classes})
    return tuple(timm.data.ImageNetInfo(subset).label_descriptions()) if subset else None


def _with_state(
    build: Callable[[Mapping[str, object]], nn.Module],
    arguments: Mapping[str, object],
    state: State | None,
    wanted: Wanted,
    usual: int,
) -> tuple[nn.Module, dict[str, object]]:
    """Return the network filled with `state` (seeded random where None), and the arguments it was built with."""
    asked = {} if wanted.num_classes in (None, usual) else {"num_classes": wanted.num_classes}
    torch.manual_seed(wanted.seed)
    network = build({**arguments, **asked})
    if state is None:
        return wakened(network), {**arguments, **asked}
    classes = _other_classes(network, state, usual)
    if classes and wanted.num_classes is None:
        asked = {"num_classes": classes}
        network = build({**arguments, **asked})
    fill(network, state)
    return network, {**arguments, **asked}


def _other_classes(network: nn.Module, state: Mapping[str, Tensor], usual: int) -> int | None:
    """Return how many classes the weights are for, where only the head's first dimension tells them apart."""
    own = network.state_dict()
    pairs = [(own[key].shape, state[key].shape) for key in own if key in state and own[key].shape != state[key].shape]
    found = {theirs[0] for ours, theirs in pairs if ours and theirs and ours[0] == usual and ours[1:] == theirs[1:]}
    return found.pop() if len(found) == 1 else None


def _near_timm(arch: str) -> list[str]:
    """Return timm's networks of nearly that name, none where timm is not installed."""
    try:
        with timm_module() as timm:
            return [TIMM + name for name in near_matches(arch, timm.list_models(), 2)]
    except ModelError:
        return []


def _meant(near: list[str]) -> str:
    return f"; did you mean {' or '.join(near)}?" if near else ""
