"""Draws the training pictures, trains the leaf classifier and saves its weights: python -m scripts.leaves.train"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from scripts.leaves.draw import CLASSES, DISEASES, draw
from scripts.leaves.network import LeafNet

WEIGHTS = Path(__file__).with_name("leaves.pt")
TRAINING_SEEDS = 1_000_000
TEST_SEEDS = 2_000_000
BATCH = 32
DOUBT = 0.015
SINGLES: tuple[tuple[str, ...], ...] = ((), *((name,) for name in DISEASES))
PAIRS: tuple[tuple[str, ...], ...] = tuple(itertools.combinations(DISEASES, 2))


@dataclass(frozen=True)
class Pictures:
    """Pictures uint8 [n, 224, 224, 3] and the classes that each shows, float32 [n, 4] of 0 and 1."""

    pixels: Tensor
    present: Tensor


def present(diseases: Sequence[str]) -> list[float]:
    """Return 1 for every class that a leaf with these diseases shows, else 0, in the order of CLASSES."""
    shown = list(diseases) or ["healthy"]
    return [float(name in shown) for name in CLASSES]


def _pixels(job: tuple[int, tuple[str, ...]]) -> NDArray[np.uint8]:
    return np.array(draw(*job).image)


def draw_pictures(first_seed: int, count: int, kinds: Sequence[tuple[str, ...]], processes: int = 1) -> Pictures:
    """Return `count` pictures that take turns among the kinds, each of its own seed."""
    jobs = [(first_seed + i, kinds[i % len(kinds)]) for i in range(count)]
    pixels = torch.empty((count, 224, 224, 3), dtype=torch.uint8)
    for index, drawn in enumerate(_draw_all(jobs, processes)):
        pixels[index] = torch.from_numpy(drawn)
    return Pictures(pixels, torch.tensor([present(diseases) for _, diseases in jobs]))


def _draw_all(jobs: Sequence[tuple[int, tuple[str, ...]]], processes: int) -> Iterator[NDArray[np.uint8]]:
    if processes == 1:
        yield from map(_pixels, jobs)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_pixels, jobs, chunksize=32)


def normalised(pixels: Tensor) -> Tensor:
    """Return uint8 [n, H, W, 3] as the network's input: float32 [n, 3, H, W] in -1 to 1, channels last in memory."""
    return pixels.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def augmented(x: Tensor, rng: torch.Generator) -> Tensor:
    """Return the batch turned and mirrored, with its light, colour and noise changed."""
    for dimension in (2, 3):
        if torch.rand((), generator=rng) < 0.5:
            x = x.flip(dimension)
    if torch.rand((), generator=rng) < 0.5:
        x = x.transpose(2, 3)
    n = x.shape[0]
    gain = 1 + 0.12 * torch.randn((n, 3, 1, 1), generator=rng) + 0.12 * torch.randn((n, 1, 1, 1), generator=rng)
    lift = 0.08 * torch.randn((n, 3, 1, 1), generator=rng)
    noise = torch.randn((1, *x.shape[1:]), generator=rng).contiguous(memory_format=torch.channels_last)
    strength = 0.15 * torch.rand((n, 1, 1, 1), generator=rng)
    return torch.addcmul(torch.addcmul(lift, x, gain), noise, strength).contiguous(memory_format=torch.channels_last)


def train(pictures: Pictures, epochs: int, seed: int) -> LeafNet:
    """Return the network trained on the pictures, in evaluation mode.

    Every class is a question of its own (binary cross entropy), so that a logit rises with the signs of its class
    and cannot win by the absence of another's: what the network looks at for rust is rust.
    """
    torch.manual_seed(seed)
    rng = torch.Generator().manual_seed(seed)
    network = LeafNet().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=4e-3, weight_decay=0.02)
    epoch_rows = len(pictures.pixels) // BATCH * BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, epochs * epoch_rows // BATCH, pct_start=0.2)
    started = time.perf_counter()
    for epoch in range(epochs):
        order = torch.randperm(len(pictures.pixels), generator=rng)[:epoch_rows].split(BATCH)
        losses = [_step(network, optimizer, schedule, pictures, rows, rng) for rows in order]
        seconds = time.perf_counter() - started
        print(f"epoch {epoch + 1}/{epochs}: loss {np.mean(losses):.3f}, {seconds:.0f} s", flush=True)
    return network.eval()


def _step(
    network: LeafNet,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    pictures: Pictures,
    rows: Tensor,
    rng: torch.Generator,
) -> float:
    x = augmented(normalised(pictures.pixels[rows]), rng)
    soft = pictures.present[rows] * (1 - 2 * DOUBT) + DOUBT
    loss = functional.binary_cross_entropy_with_logits(network(x), soft)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
    return float(loss.detach())


@torch.inference_mode()
def classify(network: LeafNet, pixels: Tensor) -> Tensor:
    """Return the logits [n, 4] of pictures uint8 [n, 224, 224, 3]."""
    return torch.cat([network(normalised(part)) for part in pixels.split(50)])


def accuracy(network: LeafNet, pictures: Pictures) -> float:
    """Return the share of one-class pictures whose class comes first."""
    return float((classify(network, pictures.pixels).argmax(1) == pictures.present.argmax(1)).float().mean())


def both_known(network: LeafNet, pictures: Pictures) -> float:
    """Return the share of two-disease pictures whose two diseases come first and second."""
    first_two = classify(network, pictures.pixels).topk(2).indices
    return float((pictures.present.gather(1, first_two) > 0).all(1).float().mean())


def main() -> None:
    """Train from nothing and report on fresh pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--singles", type=int, default=4000, help="training pictures with one class")
    parser.add_argument("--pairs", type=int, default=1200, help="training pictures with two diseases")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2, help="processes that draw")
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    given = parser.parse_args()
    started = time.perf_counter()
    torch.set_num_threads(2)
    one = draw_pictures(TRAINING_SEEDS, given.singles, SINGLES, given.processes)
    two = draw_pictures(TRAINING_SEEDS + given.singles, given.pairs, PAIRS, given.processes)
    print(f"drew {given.singles + given.pairs} pictures, {time.perf_counter() - started:.0f} s", flush=True)
    pictures = Pictures(torch.cat([one.pixels, two.pixels]), torch.cat([one.present, two.present]))
    network = train(pictures, given.epochs, given.seed)
    torch.save({name: value.contiguous() for name, value in network.state_dict().items()}, given.out)
    report(network, given.processes)
    size, wall, work = given.out.stat().st_size, time.perf_counter() - started, sum(os.times()[:4])
    print(f"saved {given.out.name}, {size / 1e6:.2f} MB; {wall:.0f} s, {work:.0f} s of processor time")


def report(network: LeafNet, processes: int) -> None:
    """Print the accuracy on 400 fresh pictures, and how often both diseases of 150 fresh leaves are known."""
    fresh = draw_pictures(TEST_SEEDS, 400, SINGLES, processes)
    pairs = draw_pictures(TEST_SEEDS + 400, 150, PAIRS, processes)
    print(f"accuracy on 400 fresh pictures: {accuracy(network, fresh):.4f}")
    print(f"two diseases are the top two on {both_known(network, pairs):.4f} of 150 fresh leaves")


if __name__ == "__main__":
    main()
