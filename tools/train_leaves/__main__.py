"""Draw the training pictures, train the leaf classifier and save its weights: `python -m tools.train_leaves`."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import torch

from tools.train_leaves.pictures import ALL_KINDS, PAIRS, SINGLES, Pictures, draw_pictures
from tools.train_leaves.training import accuracy, both_recognised, diseases_told, train
from torchserve_saliency_cli.leaves.draw import DISEASES
from torchserve_saliency_cli.leaves.embedded_archive import LEAVES
from torchserve_saliency_cli.leaves.network import LeafNet

WEIGHTS = LEAVES / "leaves.pt"
TRAINING_SEEDS = 1_000_000
TEST_SEEDS = 2_000_000


def main() -> None:
    """Train a network, save it, and print its accuracy on new pictures."""
    parser = argparse.ArgumentParser(prog="python -m tools.train_leaves", description=__doc__)
    parser.add_argument(
        "--singles", type=int, default=4000, help="number of training pictures with one class (default: 4000)"
    )
    parser.add_argument(
        "--pairs", type=int, default=1200, help="number of training pictures with two diseases (default: 1200)"
    )
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2, help="number of processes that draw pictures (default: 2)")
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    args = parser.parse_args()
    started = time.perf_counter()
    torch.set_num_threads(2)
    singles = draw_pictures(TRAINING_SEEDS, args.singles, SINGLES, args.processes)
    pairs = draw_pictures(TRAINING_SEEDS + args.singles, args.pairs, PAIRS, args.processes)
    pictures = Pictures(torch.cat([singles.pixels, pairs.pixels]), torch.cat([singles.present, pairs.present]))
    network = train(pictures, args.epochs, args.seed)
    torch.save({name: value.contiguous() for name, value in network.state_dict().items()}, args.out)
    report(network, args.processes)
    size, wall, processor = args.out.stat().st_size, time.perf_counter() - started, sum(os.times()[:4])
    print(f"saved {args.out.name}, {size / 1e6:.2f} MB; {wall:.0f} s, {processor:.0f} s of processor time")


def report(network: LeafNet, processes: int) -> None:
    """Print the accuracy on 400 new pictures, and the share of 150 new leaves whose two diseases are recognised.

    Print for each disease, too, on how many of 160 leaves with none to three diseases its sigmoid tells if it is there.
    """
    singles = draw_pictures(TEST_SEEDS, 400, SINGLES, processes)
    pairs = draw_pictures(TEST_SEEDS + 400, 150, PAIRS, processes)
    print(f"accuracy on 400 new pictures: {accuracy(network, singles):.4f}")
    print(f"two diseases are the top two on {both_recognised(network, pairs):.4f} of 150 new leaves")
    shares = diseases_told(network, draw_pictures(TEST_SEEDS + 550, 160, ALL_KINDS, processes))
    told = ", ".join(f"{name} {share:.4f}" for name, share in zip(DISEASES, shares, strict=True))
    print(f"each disease alone is told right on 160 new leaves: {told}")


if __name__ == "__main__":
    main()
