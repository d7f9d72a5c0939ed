"""The formats of pictures that can be decoded on this machine."""

from __future__ import annotations

import importlib
from functools import cache

from PIL import features

PLAIN_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")  # every Pillow decodes them
_SHOWN = {"WEBP": "WebP", "GIF": "GIF (its first frame)", "HEIF": "HEIC"}  # names in messages, if other than Pillow's
_HEIC_PLUGIN = "pillow_heif"


@cache
def image_formats() -> tuple[str, ...]:
    """Return Pillow's names of the accepted formats; phones' MPO is opened by the JPEG plugin.

    AVIF is one of them if Pillow is built with it, and HEIF, for HEIC, if the package pillow-heif is installed.
    """
    optional = {"AVIF": _decodes_avif(), "HEIF": _registers_heic()}
    return (*PLAIN_FORMATS, *(name for name, is_known in optional.items() if is_known))


def boxed_formats(data: bytes) -> tuple[str, ...]:
    """Return the accepted format of a file that begins with a box `ftyp`: AVIF, HEIF, or none of them.

    Such files begin alike; the brands in the box tell them apart.
    """
    brands = data[8 : min(int.from_bytes(data[:4], "big"), 256)]
    name = "AVIF" if b"avif" in brands or b"avis" in brands else "HEIF"
    return (name,) if name in image_formats() else ()


def accepted_formats() -> str:
    """Return the accepted formats as the end of an error message."""
    names = [_SHOWN.get(name, name) for name in image_formats()]
    return f"accepted are {', '.join(names[:-1])} and {names[-1]}"


def _decodes_avif() -> bool:
    """Tell if Pillow decodes AVIF, which releases before 11.3 do not."""
    try:
        importlib.import_module("PIL.AvifImagePlugin")
        return bool(features.check("avif"))
    except ImportError:
        return False


def _registers_heic() -> bool:
    """Tell if pillow-heif is installed; its plugin is then registered with Pillow."""
    try:
        importlib.import_module(_HEIC_PLUGIN).register_heif_opener()
    except Exception:  # if the package fails to load, because a library is missing or too old, HEIC is left out
        return False
    return True
