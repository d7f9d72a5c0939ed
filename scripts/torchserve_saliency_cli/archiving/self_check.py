"""The self-check of an archive: it loads the network, explains a picture, and compares the gradient with slopes.

It runs in a process of its own, on the unpacked archive and with the engine that is in the archive.
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

import torchserve_saliency
from torchserve_saliency.errors import ModelError, RequestError
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.map_notes import finer_layer
from torchserve_saliency.model.archive import read_unpacked
from torchserve_saliency.model.blocked_gradients import Gradients
from torchserve_saliency.model.classifier import Classifier, load_classifier
from torchserve_saliency.model.output_check import check_activation
from torchserve_saliency_cli.archiving.float64 import doubled
from torchserve_saliency_cli.archiving.gradient_check import (
    RefusedError,
    Slopes,
    best_slopes,
    check_output,
    finite_gradient,
)
from torchserve_saliency_cli.archiving.pictures import generated_input, network_input, picture_files, spread
from torchserve_saliency_cli.archiving.progress import relay_progress
from torchserve_saliency_cli.archiving.sanity import PICTURES, mixing, sanity

TOLERANCE = 1e-2  # deep random networks have slopes of 1e-9, which float64 resolves to some thousandths
FORWARD_METHOD = "occlusion"  # explains networks without a gradient
Picture = bytes | Tensor


def check(directory: Path, pictures: Sequence[bytes] | None = (), directions: int = 5) -> dict[str, object]:
    """Return an unpacked archive's figures; raise RefusedError, ModelError or RequestError if it fails.

    The sanity tests use `pictures`, or generated ones if there are none; if `pictures` is None, they are left out.
    """
    classifier = load_classifier(directory, torch.device("cpu"), compile_rows=1)
    remarks = _check_activation(classifier, directory)
    picture = generated_input(classifier.input)
    x = network_input(picture, classifier.input, classifier.limits.max_pixels).double()
    with doubled(classifier) as exact:
        index = check_output(exact, x)
        slopes = None
        if classifier.adaptation.gradients is not Gradients.NONE:
            gradient = finite_gradient(exact, x, index)
            slopes = best_slopes(exact, x, index, gradient, directions)
    if slopes is None:
        figures = _check_without_gradient(classifier, picture, index)
    else:
        figures = _check_gradient(classifier, picture, index, gradient, slopes)
    return {
        **figures,
        "score": "logit",
        "target": index,
        "remarks": remarks,
        "sanity": "off" if pictures is None else _sanity(classifier, pictures),
        **_description(classifier),
    }


def _check_gradient(
    classifier: Classifier, picture: Picture, index: int, gradient: Tensor, slopes: Slopes
) -> dict[str, object]:
    """Return the figures of the gradient of one logit; raise RefusedError if it is not the slope of the output."""
    directions = len(slopes.autograd)
    if not slopes.error <= TOLERANCE:
        raise RefusedError(
            f"the gradient is not the slope of the output: along {directions} random directions they differ by up to "
            f"{slopes.error:.1%} (autograd {_first(slopes.autograd)}; finite differences {_first(slopes.differences)});"
            " something in the network rounds, jumps, or has its own backward pass"
        )
    Explainer(classifier).explain(picture)
    plain = Explainer(replace(classifier.bare(), defaults={})).explain(picture, target=index, reduce="none")
    served = torch.from_numpy(plain.maps[0].saliency).double()
    return {
        "method": "gradient",
        "directions": directions,
        "step": slopes.step,
        "largest_relative_error": slopes.error,
        "tolerance": TOLERANCE,
        "float32_relative_error": float((served - gradient).norm() / gradient.norm()),
    }


def _check_without_gradient(classifier: Classifier, picture: Picture, index: int) -> dict[str, object]:
    """Explain the picture by a method without gradients; raise RequestError if that fails."""
    method = classifier.defaults.get("method", FORWARD_METHOD)
    Explainer(classifier).explain(picture, method=method)
    return {"method": method}


def _sanity(classifier: Classifier, pictures: Sequence[bytes]) -> dict[str, object]:
    """Return the figures of the sanity tests; raise RefusedError for maps that depend on their batch."""
    spec = classifier.input
    used: Sequence[bytes | Tensor] = pictures or [generated_input(spec, seed) for seed in range(PICTURES)]
    figures = sanity(classifier, [network_input(each, spec, classifier.limits.max_pixels) for each in used])
    if why := mixing(figures):
        raise RefusedError(why)
    return figures | {"generated": not pictures}


def _check_activation(classifier: Classifier, directory: Path) -> list[str]:
    """Return remarks on outputs that look like another activation; raise ModelError if they certainly are."""
    configured = read_unpacked(directory).handler.get("activation")
    return check_activation(classifier.network, classifier.heads, classifier.input, configured)


def _description(classifier: Classifier) -> dict[str, object]:
    """Return the properties of the loaded classifier, and the versions that it was checked with."""
    packages = ["torch", "torchvision", "numpy", "pillow"]
    versions = {name: version(name) for name in packages} | {"python": platform.python_version()}
    if type(classifier.network).__module__.startswith("timm."):
        versions["timm"] = version("timm")
    return {
        "classes": len(classifier.labels),
        "activation": classifier.heads.default.activation.name,
        "heads": [{"name": h.name, "labels": len(h.labels), "activation": h.activation.name} for h in classifier.heads],
        "gradients": classifier.adaptation.gradients.value,
        "default_layer": classifier.layers.default,
        **_layer_grids(classifier),
        "folded_batch_norms": classifier.folded,
        "compiled": classifier.compiled is not None,
        "precision": asdict(classifier.precision),
        "memory_format": str(classifier.memory_format).removeprefix("torch."),
        "versions": versions,
    }


def _layer_grids(classifier: Classifier) -> dict[str, object]:
    """Return the grid of the default layer, and a layer with a finer one and its grid."""
    layers = classifier.layers
    finer = finer_layer(layers.default, layers.grids) if layers.default else None
    names = [name for name in (layers.default, finer) if name in layers.grids]
    return {"finer_layer": finer, "layer_grids": {name: list(layers.grids[name]) for name in names if name}}


def _first(slopes: Sequence[float]) -> str:
    return ", ".join(f"{slope:.3g}" for slope in slopes[:3])


def main(unpacked: str, report: str, sanity_tests: str = "on", samples: str = "", directions: str = "5") -> None:
    """Check the archive in the folder `unpacked`; write the figures or the reason for a refusal to `report` as JSON.

    `sanity_tests` is `on` or `off`. Their pictures come from the folder `samples`, or are generated if it is empty.
    """
    files = spread(picture_files(Path(samples)), PICTURES) if samples else []
    pictures = [file.read_bytes() for file in files] if sanity_tests == "on" else None
    directory = Path(unpacked).resolve()
    assert Path(str(torchserve_saliency.__file__)).resolve().is_relative_to(directory), (
        "the engine was not imported from the archive"
    )
    relay_progress()
    try:
        figures = check(directory, pictures, int(directions))
    except RequestError as error:
        figures = {"refused": error.message, "option": error.option}
    except (ModelError, RefusedError) as error:
        figures = {"refused": str(error)}
    Path(report).write_text(json.dumps(figures), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:6])
