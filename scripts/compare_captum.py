"""Our engine beside Captum in one process: a batch of pictures, predictions and maps on both sides, ratios by round.

python scripts/compare_captum.py model_store/resnet50.mar --batch 8 --rounds 5
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "handlers")]

from scripts.settings import SPINS

os.environ.setdefault("GOMP_SPINCOUNT", SPINS)

import torch
from torch import Tensor, nn

from saliency.explainer import Explainer
from saliency.request import Message, Query, read_query
from scripts.benchmark import measured, picture, summary
from scripts.parity import unfolded

METHODS: Mapping[str, Mapping[str, object]] = {
    "gradient": {},
    "integrated_gradients": {"steps": 50},
    "smooth_grad": {"samples": 25},
    "grad_cam": {},
}
PASSES = 16  # rows that Captum is given at a time, as many as ours


def ours(explainer: Explainer, method: str, batch: int) -> Callable[[], None]:
    """Return a batch explained by our engine, from decoded pictures to maps."""
    fields = {"data": picture(None), "method": method, **METHODS[method]}
    query: Query = read_query(Message(fields, explain=True), explainer.classifier)

    def run() -> None:
        explainer.begin([query] * batch).forward().finish()

    return run


def captums(network: nn.Module, layer: str, x: Tensor, method: str) -> Callable[[], None]:
    """Return the same by Captum: a forward pass for the predictions, then its attribution of the predicted classes."""
    from captum import attr

    saliency = attr.Saliency(network)
    attribute: dict[str, Callable[[Tensor], Tensor]] = {
        "gradient": lambda target: saliency.attribute(x.clone(), target=target, abs=False),
        "integrated_gradients": lambda target: attr.IntegratedGradients(network).attribute(
            x.clone(), target=target, n_steps=50, internal_batch_size=PASSES
        ),
        "smooth_grad": lambda target: attr.NoiseTunnel(saliency).attribute(
            x.clone(), target=target, nt_samples=25, nt_samples_batch_size=max(1, PASSES // len(x)), abs=False
        ),
        "grad_cam": lambda target: attr.LayerGradCam(network, network.get_submodule(layer)).attribute(
            x.clone(), target=target, relu_attributions=True
        ),
    }

    def run() -> None:
        with torch.no_grad():
            target = network(x).argmax(1)
        attribute[method](target)

    return run


def main() -> None:
    """Print a line a method: ours over Captum's, median and quartiles."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    explainer, network = Explainer.load(args.archive), unfolded(args.archive)
    query = read_query(Message({"data": picture(None)}, explain=True), explainer.classifier)
    x = torch.stack([query.picture.tensor] * args.batch)
    print(f"{args.archive.stem}, batch {args.batch}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    for method in METHODS:
        theirs = captums(network, explainer.classifier.layers.default or "", x, method)
        seconds = measured({"ours": ours(explainer, method, args.batch), "captum": theirs}, args.rounds)
        ratios = [a / b for a, b in zip(seconds["ours"], seconds["captum"], strict=True)]
        print(f"{summary(ratios)}   {method}: ours {statistics.median(seconds['ours']):.3f} s", flush=True)


if __name__ == "__main__":
    main()
