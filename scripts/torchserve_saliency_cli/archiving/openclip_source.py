"""Networks of the package open_clip, which compare a picture with the texts of --labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from torchserve_saliency.images.preprocessing import InputSpec
from torchserve_saliency.model.checkpoint import fill
from torchserve_saliency_cli.archiving.arguments import ArchiveArguments, UsageError
from torchserve_saliency_cli.archiving.building import Source, checked_match, suggestion
from torchserve_saliency_cli.archiving.exported_source import exported_source, optional_package
from torchserve_saliency_cli.archiving.preprocessing import changed_input
from torchserve_saliency_cli.archiving.weight_files import read_weights
from torchserve_saliency_cli.archiving.zero_shot import ZeroShot

OPEN_CLIP = "openclip:"


class _Tower(nn.Module):
    """The picture's side of a network of open_clip."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.visual: nn.Module = network.visual

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.visual(x)
        return features


def openclip_source(args: ArchiveArguments, arch: str) -> Source:
    """Return the network `openclip:MODEL` or `openclip:MODEL:WEIGHTS` with the texts of --labels as its classes."""
    open_clip = optional_package("open_clip", arch)
    name, _, tag = arch.removeprefix(OPEN_CLIP).partition(":")
    if args.labels is None:
        raise UsageError(f"{arch} compares pictures with texts: --labels FILE gives the texts, one per class")
    if name not in open_clip.list_models():
        near = [each for each in open_clip.list_models() if name.lower() in each.lower()][:3]
        raise UsageError(f"open_clip has no network '{name}'{suggestion(near)}")
    network = _with_weights(open_clip, name, tag, args, arch)
    texts = open_clip.get_tokenizer(name)([args.template.format(label) for label in args.labels])
    with torch.no_grad():
        embedded = network.encode_text(texts, normalize=True)
    bias = getattr(network, "logit_bias", None)
    compared = ZeroShot(_Tower(network), embedded, network.logit_scale, bias).eval()
    spec = changed_input(_input(open_clip.get_model_preprocess_cfg(network), arch), args)
    origin = f"{arch} (open_clip {open_clip.__version__})"
    return exported_source(compared, spec, args.labels, origin, "softmax" if bias is None else "sigmoid")


def _with_weights(open_clip: Any, name: str, tag: str, args: ArchiveArguments, arch: str) -> Any:
    """Return the network with published weights, those of a file, or random ones; raise UsageError without any."""
    torch.manual_seed(args.seed)
    if args.random:
        return open_clip.create_model(name).eval()
    if args.weights_file:
        network = open_clip.create_model(name).eval()
        fill(network, checked_match(read_weights(args.weights_file), network, args).state)
        return network
    tags = open_clip.list_pretrained_tags_by_model(name)
    tag = tag or (args.weights if args.weights.upper() != "DEFAULT" else "")
    if tag not in tags:
        raise UsageError(
            f"{arch} needs weights: {OPEN_CLIP}{name}:TAG with one of {', '.join(tags) or 'no tags'}, or a file"
        )
    try:
        return open_clip.create_model(name, pretrained=tag).eval()
    except Exception as error:
        raise UsageError(
            f"the weights '{tag}' of {arch} cannot be loaded ({type(error).__name__}: {error}); download them into the "
            "Hugging Face cache (HF_HOME), or give --weights a file"
        ) from error


def _input(config: Mapping[str, Any], arch: str) -> InputSpec:
    """Return the preprocessing of open_clip's configuration; raise UsageError for an unknown kind of resize."""
    given = config["size"]
    size = (given, given) if isinstance(given, int) else (int(given[0]), int(given[1]))
    mode = config.get("resize_mode") or "shortest"
    if mode == "shortest" and size[0] == size[1]:
        resize: tuple[int, ...] = size[:1]
    elif mode == "squash":
        resize = size
    else:
        raise UsageError(f"{arch} resizes by '{mode}', which is not supported; --resize replaces it")
    return InputSpec(
        *(size, resize, config["interpolation"], tuple(config["mean"]), tuple(config["std"])),
        alpha="drop",
    )
