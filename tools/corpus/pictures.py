"""Unusual but valid pictures: every format and mode, extreme sizes, animation, large or broken metadata."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image

ORIENTATION = 0x0112
MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I", "I;16", "F")
SAVED = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "ICO", "PPM", "TGA", "PCX", "JPEG2000", "AVIF", "ICNS", "SGI")


def scene(size: tuple[int, int] = (40, 24)) -> Image.Image:
    """Return a seeded RGB picture; `size` is its width and height."""
    width, height = size
    noise = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def saved(image: Image.Image, name: str, **options: object) -> bytes | None:
    """Return the picture in a format, or None if Pillow cannot write it in that format or read it back."""
    stream = BytesIO()
    try:
        image.save(stream, name, **options)
        Image.open(BytesIO(stream.getvalue())).load()
    except (OSError, ValueError, KeyError):
        return None
    return stream.getvalue()


def formats() -> dict[str, bytes]:
    """Return a small picture in every format that the installed Pillow can write, by the format's name."""
    Image.init()
    made = {name: saved(scene(), name) for name in SAVED}
    return {name: data for name, data in made.items() if data}


def modes() -> dict[str, bytes]:
    """Return a small picture in every mode that PNG, TIFF and JPEG support, by format and mode."""
    made = {f"{name} {mode}": saved(_in_mode(mode), name) for name in ("PNG", "TIFF", "JPEG") for mode in MODES}
    floats = np.linspace(-1e30, 1e30, 40 * 24, dtype=np.float32).reshape(24, 40)
    floats[0, :3] = (np.nan, np.inf, -np.inf)
    made["TIFF F with NaN"] = saved(Image.fromarray(floats), "TIFF")
    made["PNG P transparent"] = saved(scene().convert("P"), "PNG", transparency=0)
    return {name: data for name, data in made.items() if data}


def _in_mode(mode: str) -> Image.Image:
    if mode in ("I", "I;16", "F", "LAB"):
        dtypes = {"I": np.int32, "I;16": np.uint16, "F": np.float32}
        levels = np.arange(40 * 24).reshape(24, 40) * 60
        return Image.new("LAB", (40, 24)) if mode == "LAB" else Image.fromarray(levels.astype(dtypes[mode]))
    return scene().convert(mode)


def shapes() -> dict[str, bytes]:
    """Return pictures of extreme sizes, by size."""
    sizes = ((1, 1), (1, 2), (60_000, 1), (1, 60_000), (3, 20_000), (20_000, 3))
    made = {f"{w} x {h}": saved(Image.new("RGB", (w, h), (200, 30, 90)), "PNG") for w, h in sizes}
    return {name: data for name, data in made.items() if data}


def animated() -> dict[str, bytes]:
    """Return animations, by format."""
    frames = [scene().rotate(90 * turn) for turn in range(1, 4)]
    names = ("GIF", "WEBP", "PNG", "TIFF", "MPO")
    made = {f"animated {name}": saved(scene(), name, save_all=True, append_images=frames) for name in names}
    return {name: data for name, data in made.items() if data}


def annotated() -> dict[str, bytes]:
    """Return pictures whose EXIF data or colour profile is huge or broken, by the defect."""
    tag = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01"
    exifs = {
        "huge": b"Exif\0\0II*\0\x08\0\0\0" + bytes(60_000),
        "many tags": b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0" * 4_000,
        "looping": b"Exif\0\0II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0\x08\0\0\0",
        "outside": b"Exif\0\0II*\0\xff\xff\xff\xff",
        "orientation 99": tag + b"\x03\0\x01\0\0\0\x63\0\0\0\0\0\0\0",
        "orientation text": tag + b"\x02\0\x04\0\0\0six\0\0\0\0\0",
        "orientation list": tag + b"\x03\0\x02\0\0\0\x06\0\x08\0\0\0\0\0",
        "orientation ratio": tag + b"\x05\0\x01\0\0\0\xff\xff\xff\xff\0\0\0\0",
    }
    made = {f"EXIF {k} in {n}": saved(scene(), n, exif=v) for k, v in exifs.items() for n in ("JPEG", "PNG", "WEBP")}
    profiles = {"huge": bytes(range(256)) * 2_000, "not one": b"no profile at all"}
    for name in ("JPEG", "PNG", "WEBP", "TIFF"):
        made |= {f"ICC {k} in {name}": saved(scene(), name, icc_profile=v) for k, v in profiles.items()}
    return {name: data for name, data in made.items() if data}
