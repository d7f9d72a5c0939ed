"""Print the difference between the served maps and those of Captum and of plain float64 autograd.

python -m tools.evaluation.parity model_store/squeezenet.mar owl.jpg
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tools.markdown_table import markdown_table
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.methods.base import CHUNK
from torchserve_saliency.model.acceleration.trial_pass import relative_error

SAMPLES, NOISE, SEED, STEPS = 25, 0.15, 3, 50
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "gradient": {},
    "gradient_x_input": {},
    "guided_backprop": {},
    "deconvolution": {},
    "smooth_grad": {"samples": SAMPLES, "noise": NOISE, "seed": SEED},
    "integrated_gradients": {"steps": STEPS},
    "grad_cam": {},
}


@dataclass(frozen=True)
class ParityCase:
    """A network without folded layers, an input [1, C, H, W], a target class and the layer for Grad-CAM."""

    network: nn.Module
    x: Tensor
    target: int
    layer: str


def captum_maps(case: ParityCase) -> dict[str, Callable[[], Tensor]]:
    """Return a function per method that computes Captum's map [1, C, H, W]."""
    from captum import attr

    network, x, target = case.network, case.x, case.target
    return {
        "gradient": lambda: attr.Saliency(network).attribute(x.clone(), target=target, abs=False),
        "gradient_x_input": lambda: attr.InputXGradient(network).attribute(x.clone(), target=target),
        "guided_backprop": lambda: attr.GuidedBackprop(network).attribute(x.clone(), target=target),
        "deconvolution": lambda: attr.Deconvolution(network).attribute(x.clone(), target=target),
        "smooth_grad": lambda: _captum_smooth_grad(case),
        "integrated_gradients": lambda: attr.IntegratedGradients(network).attribute(
            x.clone(), target=target, n_steps=STEPS, internal_batch_size=10
        ),
        "grad_cam": lambda: F.interpolate(
            attr.LayerGradCam(network, network.get_submodule(case.layer)).attribute(
                x.clone(), target=target, relu_attributions=True
            ),
            size=x.shape[2:],
            mode="bilinear",
        ),
    }


def _captum_smooth_grad(case: ParityCase) -> Tensor:
    """Return the mean gradient of Captum's NoiseTunnel for the same noise as the engine's."""
    from captum import attr

    deviation = NOISE * float(case.x.max() - case.x.min())
    noise = torch.cat(list(_noise(case.x.shape[1:]))).to(case.x) * deviation
    tunnel = attr.NoiseTunnel(attr.Saliency(case.network))
    with mock.patch("torch.normal", lambda *args, **kwargs: noise.view(args[1].shape)):
        found: Tensor = tunnel.attribute(
            case.x.clone(), target=case.target, nt_samples=len(noise), stdevs=deviation, abs=False
        )
    return found


def _noise(shape: Sequence[int]) -> Iterator[Tensor]:
    """Yield the standard normal noise of `smooth_grad`, drawn in the same chunks as the engine draws it."""
    generator, remaining = torch.Generator().manual_seed(SEED), SAMPLES
    while remaining:
        count = min(CHUNK, remaining)
        yield torch.randn(count, *shape, generator=generator)
        remaining -= count


def unoptimised_network(archive: Path) -> nn.Module:
    """Return the archived network without any of the optimisations that are made when it is loaded."""
    import tempfile
    import zipfile

    from torchserve_saliency.model.classifier import load_classifier

    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(archive) as packed:
        packed.extractall(folder)
        return load_classifier(
            Path(folder), torch.device("cpu"), fold=False, channels_last=False, compile_rows=0
        ).network


def errors(archive: Path, picture: Path) -> dict[str, tuple[float, float | None]]:
    """Return each method's relative error in norm against Captum and, for the gradient, against float64 autograd."""
    explainer, plain = Explainer.load(archive), unoptimised_network(archive)
    layer = explainer.classifier.layers.default or ""
    found: dict[str, tuple[float, float | None]] = {}
    for method, options in OPTIONS.items():
        explanation = explainer.explain(picture, method=method, reduce="none", **options)
        ours = torch.from_numpy(explanation.maps[0].saliency)[None]
        case = ParityCase(plain, explanation.picture.tensor[None], explanation.maps[0].target.index, layer)
        exact = relative_error(ours, exact_gradient(case)) if method == "gradient" else None
        found[method] = (relative_error(ours, captum_maps(case)[method]().detach()), exact)
    return found


def exact_gradient(case: ParityCase) -> Tensor:
    """Return the gradient of the target's logit in float64, computed by autograd alone."""
    x = case.x.double().requires_grad_()
    (gradient,) = torch.autograd.grad(copy.deepcopy(case.network).double()(x)[0, case.target], x)
    return gradient


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.evaluation.parity",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("archive", type=Path)
    parser.add_argument("picture", type=Path)
    args = parser.parse_args()
    rows = [
        [f"`{method}`", f"{captum:.1e}", "" if exact is None else f"{exact:.1e}"]
        for method, (captum, exact) in errors(args.archive, args.picture).items()
    ]
    print(markdown_table(["method", "error against Captum", "against plain float64 autograd"], rows, "lrr"))


if __name__ == "__main__":
    main()
