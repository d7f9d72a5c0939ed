"""pytorch-grad-cam's answers to the class activation maps beyond Grad-CAM: its maps are scaled to 0-1 each."""

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

from scripts.bench.rivals import GRAD_CAM, Rival, Subject

Floats = NDArray[np.float32]


def strongest(grid: Floats, count: int) -> NDArray[np.int64]:
    """Return the numbers of the channels of a grid [C, h, w] that the engine tries."""
    return np.argsort(-np.abs(grid).mean((1, 2)), kind="stable")[:count]


def _cam(name: str, subject: Subject, target: Tensor) -> Tensor:
    """Return the maps [n, H, W] of a class of the library; the graph begins at the input, as parameters are frozen."""
    import pytorch_grad_cam

    return _found(getattr(pytorch_grad_cam, name), subject)


def _score_cam(subject: Subject, target: Tensor) -> Tensor:
    """Return Score-CAM of the channels that the engine tries: the library itself knows all of them only."""
    from pytorch_grad_cam import ScoreCAM

    class Fewer(ScoreCAM):  # type: ignore[misc]
        batch_size = subject.rows

        def get_cam_image(self, x: Tensor, layer: Any, targets: Any, activations: Floats, *rest: Any) -> Floats:
            some = [grid[strongest(grid, subject.count("channels"))] for grid in activations]
            image: Floats = super().get_cam_image(x, layer, targets, np.stack(some), *rest)
            return image

    return _found(Fewer, subject)


def _ablation_cam(subject: Subject, target: Tensor) -> Tensor:
    """Return Ablation-CAM of the channels that the engine tries: the library's own choice of a few is another one."""
    from pytorch_grad_cam import AblationCAM
    from pytorch_grad_cam.ablation_layer import AblationLayer

    class Fewer(AblationLayer):  # type: ignore[misc]
        def activations_to_be_ablated(self, activations: Floats, ratio: float = 1.0) -> NDArray[np.int64]:
            self.indices = strongest(activations, subject.count("channels"))
            return self.indices

    return _found(partial(AblationCAM, ablation_layer=Fewer(), batch_size=subject.rows), subject)


def _found(make: Any, subject: Subject) -> Tensor:
    """Return the maps of what `make` gives for a network and its layers; progress bars are not shown."""
    layer = subject.network.get_submodule(subject.layer)
    with redirect_stderr(io.StringIO()), make(subject.network, [layer]) as cam:
        return torch.from_numpy(cam(subject.x.detach().requires_grad_(), targets=None))


def _rival(name: str) -> Rival:
    return Rival(GRAD_CAM, partial(_cam, name), predicts=True, scales=True)


GRAD_CAMS: Mapping[str, Rival] = MappingProxyType(
    {
        "grad_cam_plus_plus": _rival("GradCAMPlusPlus"),
        "hires_cam": _rival("HiResCAM"),
        "layer_cam": _rival("LayerCAM"),
        "xgrad_cam": _rival("XGradCAM"),
        "eigen_cam": _rival("EigenCAM"),
        "score_cam": Rival(GRAD_CAM, _score_cam, predicts=True, scales=True),
        "ablation_cam": Rival(GRAD_CAM, _ablation_cam, predicts=True, scales=True),
    }
)
