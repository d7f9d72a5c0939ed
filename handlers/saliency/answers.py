"""How large an answer will be, as far as it is known before any work is done for it."""

from __future__ import annotations

from saliency.errors import RequestError
from saliency.image import Picture
from saliency.model import Classifier
from saliency.options import Options

WORKING = 8  # maps are made for answers that are packed at most so many times smaller


def check_answer(picture: Picture, options: Options, classifier: Classifier) -> None:
    """Raise a RequestError 413 where the maps are too many or too large to be sent, or even to be made.

    The maps of an `npy` answer are sent as they are; others shrink on the way, but are held in memory first.
    """
    height, width = classifier.input.size
    if options.space == "original":
        width, height = picture.original.size
    channels = classifier.input.channels if options.reduce == "none" else 1
    size = 4 * len(options.target) * channels * height * width
    limits = classifier.limits
    limit = limits.max_response_bytes if options.format == "npy" else WORKING * limits.max_pixels
    if size > limit and not (options.render == "none" and options.format == "json" and not options.quality):
        message = (
            f"the saliency would have {size:,} bytes, and the limit is {limit:,}; "
            "ask for space input, fewer targets or a reduce other than none"
        )
        raise RequestError(413, "ResponseTooLargeException", message)
