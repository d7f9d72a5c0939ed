"""The classifiers of torchvision, with their published weights, weights from a file, or random ones."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torchvision import models

from torchserve_saliency.images.preprocessing import InputSpec
from torchserve_saliency.model.architectures import build_network, torchvision_names
from torchserve_saliency.model.labels import near_matches
from torchserve_saliency.model.state_names import renamed_state
from torchserve_saliency.model.state_search import State
from torchserve_saliency_cli.archiving.arguments import ArchiveArguments, UsageError
from torchserve_saliency_cli.archiving.building import Built, Source, build_with_state, check_channels, suggestion
from torchserve_saliency_cli.archiving.preprocessing import changed_input, torchvision_input
from torchserve_saliency_cli.archiving.timm_source import near_timm_networks
from torchserve_saliency_cli.archiving.weight_files import download, read_weights

IMAGENET = 1000
_AUXILIARY = re.compile(r"(?:^|\.)(?:aux[12]|AuxLogits)\.")
_TRANSFORMING = ("googlenet", "inception_v3")  # their published weights expect another normalisation than ImageNet's


def torchvision_source(args: ArchiveArguments, arch: str) -> Source:
    """Return one of torchvision's classifiers; raise UsageError for an unknown name."""
    if arch not in torchvision_names():
        near = [*near_matches(arch, torchvision_names()), *near_timm_networks(arch)]
        raise UsageError(f"torchvision has no classifier '{arch}'{suggestion(near)}")
    mappings, entry = _weights(args, arch)
    mappings = _without_auxiliary(arch, mappings)
    spec = torchvision_input(entry)
    arguments = _arguments(arch, mappings is None, spec, args)
    built = build_with_state(lambda a: build_network(arch, a), arguments, mappings, args, IMAGENET)
    spec = changed_input(spec, args)
    check_channels(built.channels, spec)
    return Source(
        *(built.network, spec, args.labels or _names(entry, built), arch, built.arguments),
        changes=built.changes,
        match=built.match,
    )


def _names(entry: Any, built: Built) -> tuple[str, ...] | None:
    """Return the class names of published weights if the network has as many classes, and the original head."""
    names = tuple(entry.meta["categories"])
    has_head = all("in_channels" in change for change in built.changes.values())
    return names if has_head and built.arguments.get("num_classes", IMAGENET) == len(names) else None


def _weights(args: ArchiveArguments, arch: str) -> tuple[Mapping[str, State] | None, Any]:
    """Return the weights (None for random ones), and the published entry that describes it best."""
    entries = {entry.name: entry for entry in models.get_model_weights(arch)}
    default = models.get_model_weights(arch).DEFAULT
    if path := args.weights_file:
        published = [entry for entry in entries.values() if Path(entry.url).name == path.name]
        return read_weights(path), _float_entry((published or [default])[0])
    if args.random:
        return None, _float_entry(default)
    name = args.weights.split(".")[-1]
    if name.upper() != "DEFAULT" and name.upper() not in entries:
        raise UsageError(f"'{arch}' has no weights '{name}': there are DEFAULT, none, {', '.join(entries)}, or a file")
    entry = _float_entry(entries.get(name.upper(), default))
    return download(entry.url), entry


def _float_entry(entry: Any) -> Any:
    """Return the entry of float weights that a quantized entry was made from, or the entry itself."""
    return entry.meta.get("unquantized", entry)


def _without_auxiliary(arch: str, mappings: Mapping[str, State] | None) -> Mapping[str, State] | None:
    """Return the weights without those of the auxiliary heads, which are for the training alone."""
    if mappings is None or arch.removeprefix("quantized_") not in _TRANSFORMING:
        return mappings
    kept = {place: [name for name in state if not _AUXILIARY.search(name)] for place, state in mappings.items()}
    return {place: renamed_state(mappings[place], "", names=names) for place, names in kept.items() if names}


def _arguments(arch: str, random: bool, spec: InputSpec, args: ArchiveArguments) -> dict[str, object]:
    """Return the builder's arguments that the weights and the input size require, and those of the command line."""
    arguments: dict[str, object] = {}
    if not random and arch.removeprefix("quantized_") in _TRANSFORMING:
        arguments |= {"transform_input": True, "aux_logits": False}
    if arch.startswith("vit_"):
        arguments["image_size"] = (args.input_size or spec.size)[0]
    return {**arguments, **args.arguments}
