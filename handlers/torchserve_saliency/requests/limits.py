"""Limits of a request that are checked before it starts: its cost, and the size of its maps."""

from __future__ import annotations

from torchserve_saliency.errors import RequestError, bad_option
from torchserve_saliency.images.preprocessing import InputSpec, Picture
from torchserve_saliency.methods.base import Cost
from torchserve_saliency.model.archive import Limits
from torchserve_saliency.requests.options import Options

BYTES_PER_PIXEL = 8  # memory for the maps of an answer that shrinks when it is encoded, per pixel of `max_pixels`


def check_cost(method: str, cost: Cost, targets: int, limits: Limits) -> None:
    """Raise RequestError 400 if a request may need more forward passes than the limits allow.

    Seconds are not estimated: how long a pass takes depends on the other work of the machine.
    """
    passes = cost.forward_passes(targets)
    if passes > limits.max_forwards:
        needs = f"'{method}' with these parameters needs up to {passes:,} forward passes"
        raise bad_option("method", f"{needs}, and the limit is {limits.max_forwards:,} (max_forwards)")


def check_map_size(options: Options, targets: int, picture: Picture, spec: InputSpec, limits: Limits) -> None:
    """Raise RequestError 413 if the maps of this many targets are too large for the answer, or for the memory.

    An `npy` answer holds the maps in full. The maps of other formats are smaller once encoded, but are held in memory
    in full before.
    """
    if options.render == "none" and options.format == "json" and not options.quality:
        return
    height, width = spec.size
    if options.space == "original":
        width, height = picture.original.size
    channels = spec.channels if options.reduce == "none" else 1
    size = 4 * targets * channels * height * width
    limit = limits.max_response_bytes if options.format == "npy" else BYTES_PER_PIXEL * limits.max_pixels
    if size > limit:
        message = (
            f"the saliency would have {size:,} bytes, and the limit is {limit:,}; "
            "ask for space input, fewer targets or a reduce other than none"
        )
        raise RequestError(413, "ResponseTooLargeException", message)
