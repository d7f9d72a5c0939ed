"""The preprocessing in an archive is that of the weights, with the changes of the command line."""

from pathlib import Path

import pytest
import torch
from torchvision import models

from tests.archives import own_words, parsed_arguments
from torchserve_saliency.images.preprocessing import InputSpec
from torchserve_saliency_cli.archiving.arguments import UsageError
from torchserve_saliency_cli.archiving.preprocessing import changed_input, timm_input, torchvision_input
from torchserve_saliency_cli.archiving.sources import find_source

CPU = torch.device("cpu")


@pytest.mark.parametrize("arch", ["resnet50", "vit_l_16", "inception_v3", "efficientnet_b1", "swin_v2_t"])
def test_torchvision_preprocessing_is_that_of_the_weights(arch: str) -> None:
    for entry in models.get_model_weights(arch):
        preset, spec = entry.transforms(), torchvision_input(entry)
        assert [*spec.size] == preset.crop_size * 2
        assert [*spec.resize] == preset.resize_size
        assert spec.interpolation == preset.interpolation.value
        assert ([*spec.mean], [*spec.std]) == (preset.mean, preset.std)


@pytest.mark.parametrize(
    ("changes", "resize"),
    [
        ({}, (248,)),
        ({"crop_mode": "squash"}, (248, 248)),
        ({"crop_pct": 1.0}, (224,)),
        ({"crop_mode": "squash", "input_size": (3, 224, 112), "crop_pct": 0.5}, (448, 224)),
    ],
)
def test_timm_preprocessing_is_resize_and_crop(changes: dict[str, object], resize: tuple[int, ...]) -> None:
    config = {"input_size": (3, 224, 224), "crop_pct": 0.9, "crop_mode": "center", "interpolation": "bicubic"}
    config |= {"mean": (0.5,) * 3, "std": (0.5,) * 3, **changes}
    spec = timm_input(config, parsed_arguments("--arch", "timm:x"))
    assert spec.resize == resize
    assert spec.size == config["input_size"][1:]  # type: ignore[index]
    assert spec.interpolation == "bicubic"


@pytest.mark.parametrize("changes", [{"crop_mode": "border"}, {"input_size": (3, 224, 112)}])
def test_timm_preprocessing_other_than_resize_and_crop_is_refused_unless_it_is_replaced(
    changes: dict[str, object],
) -> None:
    config = {"input_size": (3, 224, 224), "crop_pct": 0.9, "crop_mode": "center", "interpolation": "bicubic"}
    config |= {"mean": (0.5,) * 3, "std": (0.5,) * 3, **changes}
    with pytest.raises(UsageError, match="--resize replaces it by one"):
        timm_input(config, parsed_arguments("--arch", "timm:x"))
    assert timm_input(config, parsed_arguments("--arch", "timm:x", "--resize", "256")).size[0] == 224


@pytest.mark.parametrize(
    ("words", "size", "resize"),
    [
        ([], (224, 224), (256,)),
        (["--input-size", "448"], (448, 448), (512,)),
        (["--input-size", "32,48"], (32, 48), (55,)),
        (["--input-size", "32", "--resize", "32"], (32, 32), (32,)),
        (["--resize", "300,200"], (224, 224), (300, 200)),
    ],
)
def test_the_command_line_changes_the_preprocessing(
    words: list[str], size: tuple[int, ...], resize: tuple[int, ...]
) -> None:
    spec = changed_input(InputSpec(), parsed_arguments("--arch", "resnet18", *words))
    assert (spec.size, spec.resize) == (size, resize)


def test_the_picture_is_not_cropped_for_ones_own_network_by_default(tmp_path: Path) -> None:
    words = own_words(tmp_path)[4:8]
    spec = find_source(parsed_arguments(*words, "--input-size", "12,20")).input
    assert (spec.size, spec.resize) == ((12, 20), (20,))
