"""Superpixels: connected regions of about equal size that follow the picture's edges (SLIC) or form a grid."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchserve_saliency.images.connected_components import connected_parts, merge_small_regions

COMPACTNESS = 10.0  # the width of a cell counts as much as this distance in CIELAB (Achanta et al. 2012)
_MOST_COMPACTNESS = 1000.0  # colour has no influence any more
ITERATIONS = 10  # enough for most pictures, as the paper says
_XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
_WHITE = (0.950456, 1.0, 1.088754)


def segments(picture: Tensor, count: int, kind: str = "slic") -> Tensor:
    """Return the superpixels of a picture [C, H, W] in 0-1, as labels [H, W] on the CPU.

    Labels run from 0 to n - 1 with n at most `count`, and every superpixel is connected. If there are three or more
    channels, the first three are red, green and blue; otherwise the first one is grey.
    """
    return SUPERPIXELS[kind](picture.detach().float().cpu(), count)


def rows_and_columns(height: int, width: int, count: int) -> tuple[int, int]:
    """Return the rows and columns of nearly square cells that come nearest to `count` without exceeding it."""
    ideal = (count * height / width) ** 0.5
    tried = [min(max(1, rows), height, count) for rows in (int(ideal), int(ideal) + 1)]
    grids = [(rows, min(width, count // rows)) for rows in tried]
    return max(grids, key=lambda grid: grid[0] * grid[1])


def lab(picture: Tensor) -> Tensor:
    """Return an sRGB picture [C, H, W] in 0-1 as CIELAB [3, H, W] (D65), with lightness in 0-100."""
    rgb = (picture[:3] if len(picture) >= 3 else picture[:1].expand(3, -1, -1)).clamp(0, 1)
    linear = torch.where(rgb > 0.04045, ((rgb + 0.055) / 1.055).pow(2.4), rgb / 12.92)
    xyz = torch.einsum("ij,jhw->ihw", torch.tensor(_XYZ) / torch.tensor(_WHITE)[:, None], linear)
    f = torch.where(xyz > 0.008856, xyz.clamp_min(0.008856).pow(1 / 3), 7.787 * xyz + 16 / 116)
    return torch.stack([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def _grid(picture: Tensor, count: int) -> Tensor:
    """Return the labels of rectangular cells, numbered row by row."""
    height, width = picture.shape[1:]
    rows, columns = rows_and_columns(height, width, count)
    down, across = torch.arange(height) * rows // height, torch.arange(width) * columns // width
    return down[:, None] * columns + across


def _slic(picture: Tensor, count: int) -> Tensor:
    """Return the labels of SLIC superpixels (Achanta et al. 2012), with small components merged into neighbours.

    Pixels are clustered by colour and position; each is compared with the centres of its own grid cell and of the
    eight cells around it. A picture of mere texture gives many small components, and merging them leaves too few
    superpixels. If fewer than half the cells remain, clustering is repeated with four times the weight on position.
    """
    height, width = picture.shape[1:]
    grid = rows_and_columns(height, width, count)
    cells, colours, compactness = grid[0] * grid[1], lab(picture), COMPACTNESS
    while True:
        clusters = _k_means(_features(colours, compactness * (cells / (height * width)) ** 0.5), grid)
        found = connected_parts(clusters.reshape(height, width))
        whole = merge_small_regions(found, colours.flatten(1).numpy(), count, height * width // (4 * cells))
        if 2 * (whole.max() + 1) >= cells or compactness > _MOST_COMPACTNESS:
            return torch.from_numpy(whole)
        compactness *= 4


def _features(colours: Tensor, weight: float) -> Tensor:
    """Return colour and weighted position of every pixel, [H, W, 5]; the position is in pixels times `weight`."""
    height, width = colours.shape[1:]
    y, x = torch.meshgrid(torch.arange(height) * weight, torch.arange(width) * weight, indexing="ij")
    return torch.cat([colours, y[None], x[None]]).permute(1, 2, 0).contiguous()


def _k_means(features: Tensor, grid: tuple[int, int]) -> NDArray[np.int64]:
    """Return each pixel's cluster [H * W] for features [H, W, 5], by k-means from the middles of the grid cells."""
    cells, places = _cells(features.shape[0], features.shape[1], grid)
    points = features.flatten(0, 1)
    blocks = points[cells.flatten(1)].transpose(1, 2).contiguous()  # [cells, 5, pixels of a cell]
    columns = points.T.double().contiguous().numpy()
    near = _neighbours(grid)
    centres = _means(columns, (places // blocks.shape[2]).numpy(), torch.zeros(len(cells), 5))
    centres[:, :3] = points[_middle_pixels(cells), :3]  # across an edge, a mean colour would match neither side
    for _ in range(ITERATIONS):
        candidates = centres[near]  # [cells, 9, 5]
        squares = candidates.square().sum(2, keepdim=True)
        distances = torch.baddbmm(squares, candidates, blocks, alpha=-2)  # without the pixel's own square, a constant
        nearest = near.gather(1, distances.min(1).indices)  # `argmin` is five times slower on so short a dimension
        labels = nearest.flatten()[places].numpy()
        centres = _means(columns, labels, centres)
    return labels


def _cells(height: int, width: int, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return the pixel indices of every cell [cells, h, w], padded to equal size, and the index of each pixel in it."""
    (rows, own_rows), (columns, own_columns) = (_spans(n, k) for n, k in zip((height, width), grid, strict=True))
    pixels = (rows[:, None, :, None] * width + columns[None, :, None, :]).flatten(0, 1)
    own = (own_rows[:, None, :, None] & own_columns[None, :, None, :]).flatten()
    places = torch.empty(height * width, dtype=torch.int64)
    places[pixels.flatten()[own]] = own.nonzero()[:, 0]
    return pixels, places


def _middle_pixels(cells: Tensor) -> Tensor:
    """Return the index of each cell's middle pixel, which is never padding."""
    _, height, width = cells.shape
    return cells[:, (height - 1) // 2, (width - 1) // 2]


def _spans(length: int, count: int) -> tuple[Tensor, Tensor]:
    """Return a line of pixels split into `count` spans [count, longest], and a mask of the pixels without padding."""
    edges = -(-torch.arange(count + 1) * length // count)  # the same borders as in `_grid`
    longest = int(edges.diff().max())
    places = edges[:-1, None] + torch.arange(longest)
    return places.clamp_max(length - 1), places < edges[1:, None]


def _neighbours(grid: tuple[int, int]) -> Tensor:
    """Return each cell and the eight around it, [cells, 9]; at the border, missing cells repeat the nearest one."""
    rows, columns = grid
    steps = torch.tensor([-1, 0, 1])
    down = (torch.arange(rows)[:, None] + steps).clamp(0, rows - 1)
    across = (torch.arange(columns)[:, None] + steps).clamp(0, columns - 1)
    return (down[:, None, :, None] * columns + across[None, :, None, :]).flatten(2).flatten(0, 1)


def _means(columns: NDArray[np.float64], labels: NDArray[np.int64], before: Tensor) -> Tensor:
    """Return the mean of each cluster's points [clusters, 5]; a cluster without points keeps its mean from `before`."""
    count = len(before)
    sizes = np.bincount(labels, minlength=count)
    sums = np.stack([np.bincount(labels, column, count) for column in columns], 1)
    means = torch.from_numpy(sums / np.maximum(sizes, 1)[:, None]).to(before)
    return torch.where(torch.from_numpy(sizes > 0)[:, None], means, before)


SUPERPIXELS: Mapping[str, Callable[[Tensor, int], Tensor]] = MappingProxyType({"slic": _slic, "grid": _grid})
