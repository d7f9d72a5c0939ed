"""How far the served methods are from plain float64 autograd and from Captum, on a network and a picture: a table.

python scripts/parity.py model_store/squeezenet.mar owl.jpg
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "handlers")]

from saliency.explainer import Explainer
from saliency.methods.base import CHUNK
from saliency.passes import relative

SAMPLES, NOISE, SEED, STEPS = 25, 0.15, 3, 50
OPTIONS: Mapping[str, Mapping[str, object]] = {
    "gradient": {},
    "gradient_x_input": {},
    "guided_backprop": {},
    "deconvolution": {},
    "smooth_grad": {"samples": SAMPLES, "noise": NOISE, "seed": SEED},
    "integrated_gradients": {"steps": STEPS},
    "grad_cam": {},
}


@dataclass(frozen=True)
class Case:
    """A network that nothing was folded into, an input [1, C, H, W] and a class."""

    network: nn.Module
    x: Tensor
    target: int
    layer: str


def captum_maps(case: Case) -> dict[str, Callable[[], Tensor]]:
    """Return Captum's answer [1, C, H, W] to each method, to be computed."""
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


def _captum_smooth_grad(case: Case) -> Tensor:
    """Return NoiseTunnel's mean gradient over the very noise that we draw."""
    from captum import attr

    deviation = NOISE * float(case.x.max() - case.x.min())
    drawn = torch.cat(list(_noise(case.x.shape[1:]))).to(case.x) * deviation
    tunnel = attr.NoiseTunnel(attr.Saliency(case.network))
    with mock.patch("torch.normal", lambda *args, **kwargs: drawn.view(args[1].shape)):
        found: Tensor = tunnel.attribute(
            case.x.clone(), target=case.target, nt_samples=len(drawn), stdevs=deviation, abs=False
        )
    return found


def _noise(shape: Sequence[int]) -> Iterator[Tensor]:
    """Yield the standard normal noise of `smooth_grad`, drawn as it draws it."""
    generator, left = torch.Generator().manual_seed(SEED), SAMPLES
    while left:
        count = min(CHUNK, left)
        yield torch.randn(count, *shape, generator=generator)
        left -= count


def unfolded(archive: Path) -> nn.Module:
    """Return the archived network as it was before anything was made ready for speed."""
    import tempfile
    import zipfile

    from saliency.model import load_classifier

    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(archive) as packed:
        packed.extractall(folder)
        return load_classifier(
            Path(folder), torch.device("cpu"), fold=False, channels_last=False, compile_rows=0
        ).network


def errors(archive: Path, picture: Path) -> dict[str, tuple[float, float | None]]:
    """Return each method's relative error in norm: against Captum and, for the gradient, plain float64 autograd."""
    explainer, plain = Explainer.load(archive), unfolded(archive)
    layer = explainer.classifier.layers.default or ""
    found: dict[str, tuple[float, float | None]] = {}
    for method, options in OPTIONS.items():
        explanation = explainer.explain(picture, method=method, reduce="none", **options)
        ours = torch.from_numpy(explanation.maps[0].saliency)[None]
        case = Case(plain, explanation.picture.tensor[None], explanation.maps[0].target.index, layer)
        exact = relative(ours, exact_gradient(case)) if method == "gradient" else None
        found[method] = (relative(ours, captum_maps(case)[method]().detach()), exact)
    return found


def exact_gradient(case: Case) -> Tensor:
    """Return the logit's gradient in float64, by autograd alone."""
    x = case.x.double().requires_grad_()
    (gradient,) = torch.autograd.grad(copy.deepcopy(case.network).double()(x)[0, case.target], x)
    return gradient


def main() -> None:
    """Print the table for the archive and picture of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("picture", type=Path)
    args = parser.parse_args()
    print("| method | error against Captum | against plain float64 autograd |\n| --- | --- | --- |")
    for method, (captum, exact) in errors(args.archive, args.picture).items():
        print(f"| `{method}` | {captum:.1e} | {'' if exact is None else f'{exact:.1e}'} |")


if __name__ == "__main__":
    main()
