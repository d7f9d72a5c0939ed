"""The classifiers of timm, with their published weights, weights from a file, or random ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn
from torchvision import models

from torchserve_saliency.errors import ModelError
from torchserve_saliency.model.architectures import TIMM, build_network, timm_module
from torchserve_saliency.model.labels import near_matches
from torchserve_saliency.model.state_search import State
from torchserve_saliency_cli.archiving.arguments import ArchiveArguments, UsageError
from torchserve_saliency_cli.archiving.building import Source, build_with_state, check_channels, suggestion
from torchserve_saliency_cli.archiving.preprocessing import changed_input, timm_input
from torchserve_saliency_cli.archiving.weight_files import read_weights


def timm_source(args: ArchiveArguments, arch: str) -> Source:
    """Return one of timm's classifiers; raise UsageError for an unknown name, ModelError without timm."""
    with timm_module() as timm:
        name = _tagged_name(timm, arch.removeprefix(TIMM), args)
        config = timm.get_pretrained_cfg(name)
        sized = {"img_size": args.input_size} if args.input_size and config.fixed_input_size else {}
        arguments = {**sized, **args.arguments}
        mappings = _mappings(timm, name, arguments, args)
        classes = config.num_classes
        built = build_with_state(
            lambda a: build_network(TIMM + name, a), arguments, mappings, args, classes, channels_argument="in_chans"
        )
        spec = changed_input(timm_input(timm.data.resolve_data_config({}, model=built.network), args), args)
        check_channels(built.channels, spec)
        names = None if built.changes else _labels(timm, int(str(built.arguments.get("num_classes", classes))))
        return Source(
            *(built.network, spec, args.labels or names, TIMM + name, built.arguments),
            changes=built.changes,
            match=built.match,
        )


def near_timm_networks(arch: str) -> list[str]:
    """Return the names of timm's networks that are similar to `arch`, none without timm."""
    try:
        with timm_module() as timm:
            return [TIMM + name for name in near_matches(arch, timm.list_models(), 2)]
    except ModelError:
        return []


def _tagged_name(timm: Any, name: str, args: ArchiveArguments) -> str:
    """Return timm's name of the network, with the tag of its weights if one is given."""
    base = name.split(".")[0]
    if not timm.is_model(base):
        raise UsageError(f"timm has no network '{base}'{suggestion(near_matches(base, timm.list_models()))}")
    tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{base}.*")]
    tag = name.partition(".")[2]
    if args.weights_file is None and args.weights.upper() not in ("DEFAULT", "NONE"):
        tag = args.weights
    if tag and tag not in tags:
        raise UsageError(f"timm's '{base}' has no weights '{tag}': there are {', '.join(tags) or 'none'}")
    return f"{base}.{tag}" if tag else base


def _mappings(
    timm: Any, name: str, arguments: Mapping[str, object], args: ArchiveArguments
) -> Mapping[str, State] | None:
    """Return the weights, or None for random ones; raise UsageError for weights that cannot be loaded.

    Pretrained weights come from the Hugging Face cache if they are there.
    """
    if args.weights_file:
        return read_weights(args.weights_file)
    if args.random:
        return None
    try:
        network: nn.Module = timm.create_model(name, pretrained=True, **arguments)
    except Exception as error:
        hub = timm.get_pretrained_cfg(name).hf_hub_id or "no repository"
        raise UsageError(
            f"the pretrained weights of timm's '{name}' cannot be loaded ({type(error).__name__}: {error}); download "
            f"{hub} into the Hugging Face cache (HF_HOME), or give --weights a file"
        ) from error
    return {"": network.state_dict()}


def _labels(timm: Any, classes: int) -> tuple[str, ...] | None:
    """Return the class names of the ImageNet subset that has this number of classes, or None."""
    if classes == len(names := models.ResNet50_Weights.DEFAULT.meta["categories"]):
        return tuple(names)
    subset = timm.data.infer_imagenet_subset({"num_classes": classes})
    return tuple(timm.data.ImageNetInfo(subset).label_descriptions()) if subset else None
