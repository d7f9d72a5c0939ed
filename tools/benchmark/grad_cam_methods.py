"""Implementations of class activation maps by pytorch-grad-cam, which scales each map to the range 0-1."""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import redirect_stderr
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tools.benchmark.reference_implementations import GRAD_CAM, LibraryInput, LibraryMethod

Floats = NDArray[np.float32]


def strongest(grid: Floats, count: int) -> NDArray[np.int64]:
    """Return the indices of the `count` channels of a grid [C, h, w] that the engine would use."""
    return np.argsort(-np.abs(grid).mean((1, 2)), kind="stable")[:count]


def _cam(name: str, given: LibraryInput, target: Tensor) -> Tensor:
    """Return the maps [n, H, W] of a class of the library."""
    import pytorch_grad_cam

    return _maps(getattr(pytorch_grad_cam, name), given)


def _score_cam(given: LibraryInput, target: Tensor) -> Tensor:
    """Return Score-CAM of the channels that the engine uses. The library itself can only use all of them."""
    from pytorch_grad_cam import ScoreCAM

    class FewerChannels(ScoreCAM):  # type: ignore[misc]
        batch_size = given.rows

        def get_cam_image(self, x: Tensor, layer: Any, targets: Any, activations: Floats, *rest: Any) -> Floats:
            selected = [grid[strongest(grid, given.count("channels"))] for grid in activations]
            image: Floats = super().get_cam_image(x, layer, targets, np.stack(selected), *rest)
            return image

    return _maps(FewerChannels, given)


def _ablation_cam(given: LibraryInput, target: Tensor) -> Tensor:
    """Return Ablation-CAM of the channels that the engine uses. The library would choose other channels."""
    from pytorch_grad_cam import AblationCAM
    from pytorch_grad_cam.ablation_layer import AblationLayer

    class FewerChannels(AblationLayer):  # type: ignore[misc]
        def activations_to_be_ablated(self, activations: Floats, ratio: float = 1.0) -> NDArray[np.int64]:
            self.indices = strongest(activations, given.count("channels"))
            return self.indices

    return _maps(partial(AblationCAM, ablation_layer=FewerChannels(), batch_size=given.rows), given)


def _maps(make: Any, given: LibraryInput) -> Tensor:
    """Return the maps of the CAM object that `make` creates for a network and its layers. Hide progress bars."""
    layer = given.network.get_submodule(given.layer)
    with redirect_stderr(io.StringIO()), make(given.network, [layer]) as cam:
        # the parameters are frozen, so the autograd graph must start at the input
        return torch.from_numpy(cam(given.x.detach().requires_grad_(), targets=None))


def _cam_method(name: str) -> LibraryMethod:
    return LibraryMethod(GRAD_CAM, partial(_cam, name), predicts=True, scales=True)


GRAD_CAM_METHODS: Mapping[str, LibraryMethod] = MappingProxyType(
    {
        "grad_cam_plus_plus": _cam_method("GradCAMPlusPlus"),
        "hires_cam": _cam_method("HiResCAM"),
        "layer_cam": _cam_method("LayerCAM"),
        "xgrad_cam": _cam_method("XGradCAM"),
        "eigen_cam": _cam_method("EigenCAM"),
        "score_cam": LibraryMethod(GRAD_CAM, _score_cam, predicts=True, scales=True),
        "ablation_cam": LibraryMethod(GRAD_CAM, _ablation_cam, predicts=True, scales=True),
    }
)
