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


def timm_config(**changes: object) -> dict[str, object]:
    config = {"input_size": (3, 224, 224), "crop_pct": 0.9, "crop_mode": "center", "interpolation": "bicubic"}
    return config | {"mean": (0.5, 0.4, 0.2), "std": (0.5,) * 3} | changes


@pytest.mark.parametrize(
    ("changes", "resize", "fit", "fill"),
    [
        ({"crop_mode": "border"}, (248, 248), "letterbox", (128, 102, 51)),
        ({"input_size": (3, 224, 112)}, (248, 124), "cover", ()),
        ({"crop_mode": None, "crop_pct": None}, (256,), "shorter", ()),
    ],
)
def test_other_crops_of_timm(
    changes: dict[str, object], resize: tuple[int, ...], fit: str, fill: tuple[int, ...]
) -> None:
    config, size = timm_config(**changes), timm_config(**changes)["input_size"]
    spec = timm_input(config, parsed_arguments("--arch", "timm:x"))
    assert (spec.size, spec.resize, spec.fit, spec.fill) == (size[1:], resize, fit, fill)  # type: ignore[index]
    args = parsed_arguments("--arch", "timm:x", "--resize", "256")
    plain = changed_input(timm_input(config, args), args)
    assert (plain.resize, plain.fit, plain.fill) == ((256,), "shorter", ())


def test_an_unknown_crop_of_timm_is_refused_unless_it_is_replaced() -> None:
    config = timm_config(crop_mode="random")
    with pytest.raises(UsageError, match="--resize replaces it by a resize"):
        timm_input(config, parsed_arguments("--arch", "timm:x"))
    assert timm_input(config, parsed_arguments("--arch", "timm:x", "--resize", "256")).size == (224, 224)


@pytest.mark.parametrize(
    ("words", "resize", "fill"),
    [
        (["--letterbox"], (224, 224), (0,)),
        (["--letterbox", "grey"], (224, 224), (114,)),
        (["--letterbox", "white", "--resize", "200"], (200,), (255,)),
        (["--letterbox", "mean", "--input-size", "64,96"], (64, 96), (124, 116, 104)),
        (["--letterbox", "7"], (224, 224), (7,)),
        (["--letterbox", "1,2,3"], (224, 224), (1, 2, 3)),
    ],
)
def test_letterbox(words: list[str], resize: tuple[int, ...], fill: tuple[int, ...]) -> None:
    """C10: the flag, with the levels of the padding."""
    spec = changed_input(InputSpec(), parsed_arguments("--arch", "resnet18", *words))
    assert (spec.fit, spec.resize, spec.fill) == ("letterbox", resize, fill)


@pytest.mark.parametrize("text", ["256", "-1", "blue", "1,2,x", ""])
def test_a_padding_that_is_no_level_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed_arguments("--arch", "resnet18", f"--letterbox={text}")
    assert "is not black, grey, white, mean, or levels from 0 to 255" in capsys.readouterr().err


def test_levels_of_a_padding_are_one_or_as_many_as_channels() -> None:
    with pytest.raises(UsageError, match=r"fill .* one, or one per channel"):
        changed_input(InputSpec(), parsed_arguments("--arch", "resnet18", "--letterbox", "1,2"))


def test_the_white_of_16_bits() -> None:
    """A8: the flag."""
    assert changed_input(InputSpec(), parsed_arguments("--arch", "resnet18")).white == 65535
    assert changed_input(InputSpec(), parsed_arguments("--arch", "resnet18", "--white", "4095")).white == 4095
    with pytest.raises(UsageError, match=r"white .* whole number"):
        changed_input(InputSpec(), parsed_arguments("--arch", "resnet18", "--white", str(1 << 32)))


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
