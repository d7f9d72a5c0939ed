"""Preprocessing of pictures, compared with torchvision's pipeline, and the crop in pixels of the picture."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from torchserve_saliency.errors import RequestError
from torchserve_saliency.images.preprocessing import (
    InputSpec,
    Picture,
    decode,
    grey,
    normalise,
    prepare,
    preprocessed,
    project,
)

PHOTOS = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "photos"
INTERPOLATIONS = ("nearest", "nearest-exact", "box", "bilinear", "hamming", "bicubic", "lanczos")
LIMIT = 50_000_000


def noise(width: int, height: int, channels: int = 3) -> Image.Image:
    levels = np.random.default_rng(width * 7919 + height).integers(0, 256, (height, width, channels), np.uint8)
    return Image.fromarray(levels[..., 0] if channels == 1 else levels)


def png(image: Image.Image) -> bytes:
    stream = BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def torchvisions_pixels(image: Image.Image, spec: InputSpec) -> Image.Image:
    """Return the picture after torchvision's resize and centre crop, before it is converted to a tensor."""
    side = spec.resize[0] if len(spec.resize) == 1 else list(spec.resize)
    steps = (transforms.Resize(side, InterpolationMode(spec.interpolation)), transforms.CenterCrop(spec.size))
    cropped: Image.Image = transforms.Compose(steps)(image)
    return cropped


def torchvisions_tensor(pixels: Image.Image, spec: InputSpec) -> torch.Tensor:
    steps = (transforms.ToTensor(), transforms.Normalize(spec.mean, spec.std))
    tensor: torch.Tensor = transforms.Compose(steps)(pixels)
    return tensor


def assert_like_torchvision(picture: Picture, image: Image.Image, spec: InputSpec) -> None:
    """Assert that all bits of the pixels and of the input are equal."""
    wanted = torchvisions_pixels(image, spec)
    np.testing.assert_array_equal(picture.pixels, np.asarray(wanted).reshape(picture.pixels.shape))
    assert torch.equal(picture.tensor, torchvisions_tensor(wanted, spec))


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize(
    ("size", "resize"),
    [
        ((224, 224), (256,)),
        ((224, 224), (232,)),
        ((224, 224), (224,)),
        ((224, 224), (150,)),  # padded on all sides
        ((97, 131), (120,)),  # padded on one axis
        ((224, 224), (224, 224)),
        ((181, 200), (256, 301)),
        ((200, 60), (150, 90)),
    ],
)
def test_crops_equal_those_of_torchvision(size: tuple[int, int], resize: tuple[int, ...], interpolation: str) -> None:
    spec = InputSpec(size, resize, interpolation)
    for width, height in ((480, 320), (321, 427), (256, 256), (301, 223), (100, 131), (33, 31), (90, 401), (5, 9)):
        image = noise(width, height)
        assert_like_torchvision(prepare(image, spec), image, spec)


@given(
    st.integers(1, 300),
    st.integers(1, 300),
    st.integers(1, 64),
    st.integers(1, 64),
    st.lists(st.integers(1, 80), min_size=1, max_size=2),
    st.sampled_from(["nearest", "bilinear", "bicubic"]),
)
@settings(deadline=None, max_examples=150)
def test_crops_of_any_size_equal_those_of_torchvision(
    width: int, height: int, across: int, down: int, resize: list[int], interpolation: str
) -> None:
    spec = InputSpec((down, across), tuple(resize), interpolation)
    image = noise(width, height)
    assert_like_torchvision(prepare(image, spec), image, spec)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("size", [(4000, 3000), (3000, 4000), (2001, 1333)])
def test_crops_of_large_pictures_equal_those_of_torchvision(size: tuple[int, int], interpolation: str) -> None:
    spec = InputSpec(interpolation=interpolation)
    image = noise(500, 500).resize(size, Image.Resampling.BICUBIC)
    assert_like_torchvision(prepare(image, spec), image, spec)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_tensors_equal_those_of_torchvision(channels: int) -> None:
    spec = InputSpec((50, 70), (60,), mean=(0.1, 0.5, 0.4, 0.3)[:channels], std=(0.3, 0.2, 0.25, 0.5)[:channels])
    image = noise(100, 90, channels)
    picture = prepare(image, spec)
    assert_like_torchvision(picture, image, spec)
    assert picture.pixels.shape == (50, 70, channels)
    assert picture.tensor.shape == (channels, 50, 70)
    assert picture.tensor.dtype == torch.float32


def test_tensors_are_channels_last() -> None:
    tensor = normalise(torch.zeros(2, 8, 9, 3, dtype=torch.uint8), InputSpec(size=(8, 9)))
    assert tensor.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    "name", ["great_grey_owl.jpg", "peacock.jpg", "toucan.jpg", "zebra.jpg", "dog_and_cat.png", "grace_hopper.bmp"]
)
@pytest.mark.skipif(not PHOTOS.is_dir(), reason="the photographs of shared/data are not here")
def test_photographs_equal_those_of_torchvision(name: str) -> None:
    data = (PHOTOS / name).read_bytes()
    spec, image = InputSpec(), Image.open(BytesIO(data)).convert("RGB")
    picture = decode(data, spec, LIMIT)
    assert picture.original.size == image.size
    assert_like_torchvision(picture, image, spec)


def ramps(width: int, height: int) -> Image.Image:
    """Return a picture of which the red channel is the column and the green channel the row."""
    y, x = np.mgrid[0:height, 0:width]
    return Image.fromarray(np.stack((x, y, 0 * x), axis=-1).astype(np.uint8))


@pytest.mark.parametrize("resize", [(64,), (80,), (40, 90), (200,)])
@pytest.mark.parametrize("size", [(250, 160), (120, 240), (200, 200)])
def test_the_crop_gives_the_position_of_each_input_pixel(size: tuple[int, int], resize: tuple[int, ...]) -> None:
    picture = decode(png(ramps(*size)), InputSpec((40, 48), resize), LIMIT)
    left, top, right, bottom = picture.crop
    columns = left + (np.arange(48) + 0.5) * (right - left) / 48 - 0.5
    rows = top + (np.arange(40) + 0.5) * (bottom - top) / 40 - 0.5
    inner = np.s_[4:-4, 4:-4]
    seen = picture.pixels.astype(float)
    assert np.abs(seen[..., 0] - columns)[inner].max() < 1.1
    assert np.abs(seen[..., 1] - rows[:, None])[inner].max() < 1.1


def test_padding_is_black_and_the_crop_reaches_beyond_the_picture() -> None:
    picture = decode(png(Image.new("RGB", (20, 10), "white")), InputSpec((30, 30), (10,)), LIMIT)
    assert picture.crop == (-5.0, -10.0, 25.0, 20.0)
    inside = np.zeros((30, 30), bool)
    inside[10:20, 5:25] = True
    assert (picture.pixels[inside] == 255).all()
    assert not picture.pixels[~inside].any()


@pytest.mark.parametrize(
    ("size", "spec"),
    [
        ((640, 427), InputSpec()),
        ((427, 640), InputSpec()),
        ((60, 90), InputSpec()),
        ((300, 200), InputSpec((224, 224), (224, 224))),
        ((150, 100), InputSpec((224, 224), (112,))),
    ],
)
@pytest.mark.parametrize("place", [(0.5, 0.5), (0.35, 0.4), (0.62, 0.7)])
def test_a_spot_of_the_input_is_projected_to_its_position_in_the_original(
    size: tuple[int, int], spec: InputSpec, place: tuple[float, float]
) -> None:
    x, y = int(place[0] * size[0]), int(place[1] * size[1])
    image = Image.new("L", size)
    image.paste(255, (x - 3, y - 3, x + 4, y + 4))
    picture = decode(png(image), spec, LIMIT)
    projected = project(picture.pixels.mean(-1, dtype=np.float32), picture.crop, *picture.original.size)
    assert projected.shape == (size[1], size[0])
    assert centre(projected) == pytest.approx((x, y), abs=1)


def centre(saliency: NDArray[np.float32]) -> tuple[float, float]:
    """Return the centre of gravity, (column, row)."""
    y, x = np.mgrid[0 : saliency.shape[0], 0 : saliency.shape[1]]
    total = float(saliency.sum(dtype=np.float64))
    return float((x * saliency).sum(dtype=np.float64) / total), float((y * saliency).sum(dtype=np.float64) / total)


def test_an_upright_picture_in_the_networks_mode_is_not_copied() -> None:
    image = noise(40, 30)
    assert prepare(image, InputSpec()).original is image


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("resize", [(256,), (224, 224)])
@pytest.mark.parametrize("size", [(1, 60_000), (60_000, 1), (3, 20_000), (1, 1)])
def test_extreme_pictures_are_read(size: tuple[int, int], resize: tuple[int, ...], interpolation: str) -> None:
    spec = InputSpec(resize=resize, interpolation=interpolation)
    picture = decode(png(Image.new("RGB", size, (0, 255, 0))), spec, LIMIT)
    assert (picture.pixels == (0, 255, 0)).all()
    assert project(picture.tensor.numpy(), picture.crop, *size).shape == (3, size[1], size[0])


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_the_middle_of_a_very_long_picture_is_found(interpolation: str) -> None:
    levels = np.zeros((1, 10_000_000), np.uint8)
    levels[0, 4_999_990:5_000_010] = 255
    picture = prepare(Image.fromarray(levels), InputSpec(interpolation=interpolation))
    assert (picture.pixels == 255).all()


@pytest.mark.parametrize("channels", [2, 5, 13])
def test_a_network_with_other_channels_takes_no_picture(channels: int) -> None:
    """C12: the refusal says how to send the input."""
    spec = InputSpec(mean=(0.5,) * channels, std=(0.5,) * channels)
    refusal = pytest.raises(RequestError, match=rf"{channels} channels.*FP32, shape \[N, {channels}, ")
    with refusal as caught:
        decode(png(noise(8, 8)), spec, LIMIT)
    assert caught.value.status == 422
    with refusal as caught:
        prepare(noise(8, 8), spec)
    assert caught.value.status == 422


@pytest.mark.parametrize("channels", [2, 5, 13])
def test_an_input_of_other_channels_is_shown_as_the_grey_mean(channels: int) -> None:
    """C12: the backdrop of such an input."""
    spec = InputSpec((6, 8), mean=(0.5,) * channels, std=(0.25,) * channels)
    levels = np.random.default_rng(0).integers(0, 256, (channels, 6, 8)).astype(np.float32)
    picture = preprocessed(((levels / 255 - 0.5) / 0.25).astype(np.float32), spec)
    assert picture.tensor.shape == (channels, 6, 8)
    np.testing.assert_array_equal(picture.pixels, levels.transpose(1, 2, 0))
    assert picture.original.mode == "L"
    assert np.abs(np.asarray(picture.original) - levels.mean(0)).max() <= 0.51
    assert grey(spec).tensor.shape == (channels, 6, 8)


def test_pixels_that_cannot_be_converted_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(image: Image.Image, channels: int) -> Image.Image:
        raise ValueError(f"{image.mode} {channels}")

    monkeypatch.setattr("torchserve_saliency.images.preprocessing.to_channels", fail)
    with pytest.raises(RequestError, match="mode RGB") as caught:
        decode(png(noise(8, 8)), InputSpec(), LIMIT)
    assert caught.value.status == 415


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"size": (0, 224)}, "two positive sides"),
        ({"size": (224,)}, "unpack"),
        ({"resize": ()}, "one or two"),
        ({"resize": (1, 2, 3)}, "one or two"),
        ({"interpolation": "cubic"}, "'cubic' is not one of nearest"),
        ({"mean": (0.5,)}, "one value per channel"),
        ({"std": (0.1, 0.1, 0.0)}, "std above 0"),
        ({"mean": (), "std": ()}, "one value per channel"),
        ({"fit": "stretch"}, "fit 'stretch' is not one of shorter, cover, letterbox"),
        ({"fill": (1, 2)}, "fill .* levels of 0 to 255"),
        ({"fill": (256,)}, "fill .* levels of 0 to 255"),
        ({"white": 0}, "white 0 must be a whole number"),
        ({"crop_rounding": "up"}, "crop_rounding 'up' is not one of even, zero, floor"),
        ({"resizer": "torch", "interpolation": "hamming"}, "the resizer torch has no interpolation 'hamming'"),
        ({"rescale": 0.0}, "rescale 0.0 must be finite"),
        ({"normalisation": "none"}, "not one of stepwise, fused, scaled"),
        ({"extra_std": (0.5,)}, "extra_std .* one value per channel"),
        ({"extra_std": (0.5, 0.5, 0.0)}, "extra_std .* above 0"),
        ({"offset": 1.0, "normalisation": "fused"}, "offset 1.0 needs the normalisation stepwise or scaled"),
        ({"offset": float("nan")}, "finite"),
        ({"channel_order": "gbr"}, "channel_order 'gbr' is not one of rgb, bgr"),
        ({"channel_order": "bgr", "mean": (0.5,), "std": (0.5,)}, "channel_order bgr needs 3 channels"),
        ({"alpha": "black"}, "alpha 'black' is not one of white, drop, key"),
    ],
)
def test_contradictory_inputs_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        InputSpec(**fields)  # type: ignore[arg-type]
