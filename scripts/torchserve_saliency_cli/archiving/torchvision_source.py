"""The classifiers of torchvision, with their published weights, weights from a file, or random ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torchvision import models

from torchserve_saliency.images.preprocessing import InputSpec
from torchserve_saliency.model.architectures import build_network, torchvision_names
from torchserve_saliency.model.checkpoint import State
from torchserve_saliency.model.labels import near_matches
from torchserve_saliency_cli.archiving.arguments import ArchiveArguments, UsageError
from torchserve_saliency_cli.archiving.building import Source, build_with_state, suggestion
from torchserve_saliency_cli.archiving.preprocessing import changed_input, torchvision_input
from torchserve_saliency_cli.archiving.timm_source import near_timm_networks
from torchserve_saliency_cli.archiving.weight_files import download, read_weights

IMAGENET = 1000
_TRANSFORMING = ("googlenet", "inception_v3")  # their published weights expect another normalisation than ImageNet's


def torchvision_source(args: ArchiveArguments, arch: str) -> Source:
    """Return one of torchvision's classifiers; raise UsageError for an unknown name."""
    if arch not in torchvision_names():
        near = [*near_matches(arch, torchvision_names()), *near_timm_networks(arch)]
        raise UsageError(f"torchvision has no classifier '{arch}'{suggestion(near)}")
    state, entry = _weights(args, arch)
    spec = torchvision_input(entry)
    arguments = _arguments(arch, state, spec, args)
    network, arguments = build_with_state(lambda a: build_network(arch, a), arguments, state, args, IMAGENET)
    classes = arguments.get("num_classes", IMAGENET)
    names = tuple(entry.meta["categories"]) if classes == len(entry.meta["categories"]) else None
    return Source(network, changed_input(spec, args), args.labels or names, arch, arguments)


def _weights(args: ArchiveArguments, arch: str) -> tuple[State | None, Any]:
    """Return the state dict (None for random weights), and the published entry that describes it best."""
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


def _arguments(arch: str, state: State | None, spec: InputSpec, args: ArchiveArguments) -> dict[str, object]:
    """Return the builder's arguments that the weights and the input size require, and those of the command line."""
    arguments: dict[str, object] = {}
    if state is not None and arch.removeprefix("quantized_") in _TRANSFORMING:
        arguments["transform_input"] = True
        arguments["aux_logits"] = any(key.lower().startswith("aux") for key in state)
    if arch.startswith("vit_"):
        arguments["image_size"] = (args.input_size or spec.size)[0]
    return {**arguments, **args.arguments}
