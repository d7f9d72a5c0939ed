"""The preprocessing of a network's input, as an archive states it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from PIL import Image
from torch import Tensor

from torchserve_saliency.images.pixel_modes import WHITE

Resampling = Image.Resampling
INTERPOLATIONS = {
    "nearest": Resampling.NEAREST,
    "nearest-exact": Resampling.NEAREST,
    "box": Resampling.BOX,
    "bilinear": Resampling.BILINEAR,
    "hamming": Resampling.HAMMING,
    "bicubic": Resampling.BICUBIC,
    "lanczos": Resampling.LANCZOS,
}
FITS = ("shorter", "cover", "letterbox", "none")
CROP_ROUNDINGS = ("even", "zero", "floor")
RESIZERS = ("pillow", "torch")
TORCH_INTERPOLATIONS = ("nearest", "nearest-exact", "bilinear", "bicubic", "lanczos")
NORMALISATIONS = ("stepwise", "fused", "scaled")
CHANNEL_ORDERS = ("rgb", "bgr")
ALPHAS = ("white", "drop", "key")
RESCALE = 1 / 255


@dataclass(frozen=True)
class InputSpec:
    """The preprocessing of a network's input.

    A picture is resized, then cropped or padded around its centre to `size`, (height, width). `mean` and `std` hold
    one value per channel, for pixels in 0-1. Raise ValueError if the values are invalid or contradict each other.

    - `resize`: (shorter side,), or an exact (height, width).
    - `fit`: `shorter` is as above. `cover` and `letterbox` keep the ratio of the sides, so that the picture just covers
      the rectangle `resize`, or just fits into it. With `letterbox`, the rest of `size` is padded. With `none`, the
      picture is not resized.
    - `fill`: the padding, levels of 0-255: one per channel, or one for all; black if empty.
    - `white`: the level that is 1.0 in a picture of more than 8 bits per channel.
    - `crop_rounding`: if the spare pixels are odd, half of them is rounded to even, as torchvision does, to `zero`, as
      the processors of Hugging Face do, or down (`floor`), as their variants for Pillow do.
    - `resizer`: `pillow`, or `torch` for processors that resize tensors of 8-bit levels with antialiasing.
    - `rescale`: the factor from levels to 0-1.
    - `normalisation`: `stepwise` is (rescaled level - mean) / std; `fused` subtracts and divides the levels by mean and
      std over `rescale`, as most processors of Hugging Face do; `scaled` is `stepwise` with levels multiplied in
      float32. They differ in the last bits.
    - `offset` is subtracted from the rescaled level, and the input is divided by `extra_std` after all other steps, as
      the processor of EfficientNet does. `offset` needs another normalisation than `fused`.
    - `channel_order`: the order of the input's channels; mean and std have the same order.
    - `alpha`: transparent pixels are laid on white, or their alpha is ignored (`drop`). With `key`, it is ignored, too,
      but a single colour that is declared transparent becomes white.
    """

    size: tuple[int, int] = (224, 224)
    resize: tuple[int, ...] = (256,)
    interpolation: str = "bilinear"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    fit: str = "shorter"
    fill: tuple[int, ...] = ()
    white: int = WHITE
    crop_rounding: str = "even"
    resizer: str = "pillow"
    rescale: float = RESCALE
    normalisation: str = "stepwise"
    offset: float = 0.0
    extra_std: tuple[float, ...] = ()
    channel_order: str = "rgb"
    alpha: str = "white"

    def __post_init__(self) -> None:
        height, width = self.size
        if len(self.resize) not in (1, 2) or min(height, width, *self.resize) < 1:
            raise ValueError(f"size {self.size} needs two positive sides, resize {self.resize} one or two")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} {getattr(self, name)!r} is not one of {', '.join(choices)}")
        if self.resizer == "torch" and self.interpolation not in TORCH_INTERPOLATIONS:
            known = ", ".join(TORCH_INTERPOLATIONS)
            raise ValueError(f"the resizer torch has no interpolation {self.interpolation!r}; it has {known}")
        self._check_levels()

    def _check_levels(self) -> None:
        """Raise ValueError if the values that describe levels are invalid."""
        finite = all(math.isfinite(value) for value in (*self.mean, *self.std, *self.extra_std, self.offset))
        if len(self.mean) != len(self.std) or min(self.std, default=0) <= 0 or not finite:
            raise ValueError(f"mean {self.mean} and std {self.std} need one value per channel, finite, std above 0")
        if len(self.extra_std) not in (0, self.channels) or min(self.extra_std, default=1) <= 0:
            raise ValueError(f"extra_std {self.extra_std} needs one value per channel, above 0, or none")
        if self.offset and self.normalisation == "fused":
            raise ValueError(f"offset {self.offset} needs the normalisation stepwise or scaled, not fused")
        if self.channel_order != "rgb" and self.channels != 3:
            raise ValueError(f"channel_order {self.channel_order} needs 3 channels, not {self.channels}")
        if len(self.fill) not in (0, 1, self.channels) or not all(_is_whole(v) and 0 <= v <= 255 for v in self.fill):
            raise ValueError(f"fill {self.fill} needs levels of 0 to 255: one, or one per channel")
        if not _is_whole(self.white) or not 1 <= self.white < 1 << 32:
            raise ValueError(f"white {self.white} must be a whole number from 1 to {(1 << 32) - 1}")
        if not (math.isfinite(self.rescale) and self.rescale > 0):
            raise ValueError(f"rescale {self.rescale} must be finite and above 0")

    @cached_property
    def channels(self) -> int:
        """Return the number of channels of the input."""
        return len(self.mean)

    @property
    def padding(self) -> tuple[int, ...]:
        """Return the level of the padding, one per channel."""
        return self.fill if len(self.fill) == self.channels else (self.fill or (0,)) * self.channels

    @property
    def unit_mean(self) -> tuple[float, ...]:
        """Return the pixel in 0-1 that becomes 0 in the input, one value per channel of the input."""
        return tuple((mean + self.offset) / (255 * self.rescale) for mean in self.mean)

    @property
    def unit_std(self) -> tuple[float, ...]:
        """Return the difference of pixels in 0-1 that is 1 in the input, one value per channel of the input."""
        extra = self.extra_std or (1.0,) * self.channels
        return tuple(std * other / (255 * self.rescale) for std, other in zip(self.std, extra, strict=True))

    @cached_property
    def pixel_line(self) -> tuple[Tensor, ...]:
        """Return the mean, the std and, if there is one, the extra std of a line of pixels, float32 [W * C] each."""
        mean, *stds = (torch.tensor(v, dtype=torch.float32) for v in (self.mean, self.std, self.extra_std) if v)
        if self.normalisation == "fused":
            mean, stds[0] = mean * (1.0 / self.rescale), stds[0] * (1.0 / self.rescale)
        return tuple(values.repeat(self.size[1]) for values in (mean, *stds))


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_CHOICES = {
    "interpolation": tuple(INTERPOLATIONS),
    "fit": FITS,
    "crop_rounding": CROP_ROUNDINGS,
    "resizer": RESIZERS,
    "normalisation": NORMALISATIONS,
    "channel_order": CHANNEL_ORDERS,
    "alpha": ALPHAS,
}
