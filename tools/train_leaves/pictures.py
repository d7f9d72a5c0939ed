"""The training pictures: drawn leaves with known diseases."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from torchserve_saliency_cli.leaves.draw import CLASSES, DISEASES, draw

SINGLES: tuple[tuple[str, ...], ...] = ((), *((name,) for name in DISEASES))
PAIRS: tuple[tuple[str, ...], ...] = tuple(itertools.combinations(DISEASES, 2))
ALL_KINDS: tuple[tuple[str, ...], ...] = (*SINGLES, *PAIRS, DISEASES)


@dataclass(frozen=True)
class Pictures:
    """Pictures as uint8 [n, 224, 224, 3], and the classes in each as float32 [n, 4], 0 or 1."""

    pixels: Tensor
    present: Tensor


def present(diseases: Sequence[str]) -> list[float]:
    """Return 1 for each class of CLASSES if a leaf with these diseases belongs to it, else 0."""
    names = list(diseases) or ["healthy"]
    return [float(name in names) for name in CLASSES]


def _pixels(job: tuple[int, tuple[str, ...]]) -> NDArray[np.uint8]:
    return np.array(draw(*job).image)


def draw_pictures(first_seed: int, count: int, kinds: Sequence[tuple[str, ...]], processes: int = 1) -> Pictures:
    """Return `count` pictures with consecutive seeds; `kinds` are the diseases of the pictures, in turn."""
    jobs = [(first_seed + i, kinds[i % len(kinds)]) for i in range(count)]
    pixels = torch.empty((count, 224, 224, 3), dtype=torch.uint8)
    for index, picture in enumerate(tqdm(_draw_all(jobs, processes), "drawing", count)):
        pixels[index] = torch.from_numpy(picture)
    return Pictures(pixels, torch.tensor([present(diseases) for _, diseases in jobs]))


def _draw_all(jobs: Sequence[tuple[int, tuple[str, ...]]], processes: int) -> Iterator[NDArray[np.uint8]]:
    if processes == 1:
        yield from map(_pixels, jobs)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_pixels, jobs, chunksize=32)
