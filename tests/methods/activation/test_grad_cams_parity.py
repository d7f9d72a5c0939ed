"""Class activation maps compared with pytorch-grad-cam and Captum."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision import models, transforms

from tests.methods.activation.test_grad_cams import Twice, X, methods_and_layers, with_large_gradients
from tests.methods.test_methods import run
from tests.networks import classifier, made
from torchserve_saliency.engine.batching import Pool
from torchserve_saliency.engine.objective import Objective
from torchserve_saliency.engine.rows import Answer
from torchserve_saliency.methods import METHODS
from torchserve_saliency.methods.activation.grad_cams import Cam, upsample
from torchserve_saliency.methods.base import Subject

THEIRS = {
    "grad_cam": "GradCAM",
    "grad_cam_plus_plus": "GradCAMPlusPlus",
    "hires_cam": "HiResCAM",
    "layer_cam": "LayerCAM",
    "xgrad_cam": "XGradCAM",
    "eigen_cam": "EigenCAM",
}


@pytest.mark.filterwarnings("ignore")
def test_guided_grad_cam_equals_captum() -> None:
    attr = pytest.importorskip("captum.attr", reason="captum is not installed")
    network = made(Twice, dtype=torch.float64)
    theirs = attr.GuidedGradCam(network, network.get_submodule("again"))
    expected = theirs.attribute(X.clone(), target=2, interpolate_mode="bilinear").detach()
    found = run(network, "guided_grad_cam", Cam("again"), Objective((2,))).values
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-12)
    assert found.any()


def pytorch_grad_cam(method: str, network: nn.Module, layer: str, x: Tensor, target: int) -> Tensor:
    """Return pytorch-grad-cam's map [1, 1, H, W] before it is scaled to 0-1, upsampled like ours."""
    library = pytest.importorskip("pytorch_grad_cam", reason="pytorch-grad-cam is not installed")
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    module = network.get_submodule(layer)
    targets = [ClassifierOutputTarget(target)]
    with getattr(library, THEIRS[method])(network, [module]) as cam:
        cam(x.clone().requires_grad_(), targets)
        seen = cam.activations_and_grads
        slopes = seen.gradients[0].numpy() if seen.gradients else None
        image = cam.get_cam_image(x, module, targets, seen.activations[0].numpy(), slopes, False)
    return torch.from_numpy(np.asarray(image))[None].to(x)


def assert_equals_theirs(found: Tensor, theirs: Tensor, method: str) -> None:
    """Assert that maps differ by at most 1e-4 of the largest value, for Eigen-CAM up to the sign."""
    signs = (1, -1) if method == "eigen_cam" else (1,)
    expected = [upsample((sign * theirs).clamp_min(0), found) for sign in signs]
    gaps = [float((found - one).abs().max() / one.abs().max()) for one in expected]
    assert min(gaps) < 1e-4
    assert found.any()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("method", "layer"), methods_and_layers(THEIRS))
def test_maps_equal_those_of_pytorch_grad_cam(method: str, layer: str) -> None:
    network = with_large_gradients()
    found = run(network, method, Cam(layer), Objective((2,))).values
    assert_equals_theirs(found, pytorch_grad_cam(method, network, layer, X, 2), method)


@pytest.mark.filterwarnings("ignore")
def test_maps_of_a_real_network_equal_those_of_pytorch_grad_cam(data: Path) -> None:
    network = models.squeezenet1_1().eval().requires_grad_(False)
    network.load_state_dict(torch.load(data / "weights" / "squeezenet1_1.pt", map_location="cpu"))
    network.classifier[1].weight.mul_(10000)  # see `with_large_gradients`
    ready = transforms.Compose(
        [
            *(transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor()),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    x = ready(Image.open(data / "photos" / "great_grey_owl.jpg").convert("RGB"))[None]
    model = classifier(network, 224)
    for method in THEIRS:
        steps = METHODS[method].function(Subject(x, Objective((24,)), model.input), Cam("features"))
        (answer,) = Pool(model, [next(steps)], 1).answers()
        assert isinstance(answer, Answer)
        with pytest.raises(StopIteration) as end:
            steps.send(answer)
        assert_equals_theirs(end.value.value.values, pytorch_grad_cam(method, network, "features", x, 24), method)
