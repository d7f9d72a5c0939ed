"""Text in drawn pictures: a font for most alphabets, and lines that fit a width."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from PIL import ImageFont
from PIL.ImageFont import FreeTypeFont

ELLIPSIS = "…"


@lru_cache(maxsize=16)
def font(size: int) -> FreeTypeFont | ImageFont.ImageFont:
    """Return the font of a size in pixels: Matplotlib's DejaVu Sans, as Pillow's own font has no accented letters."""
    from matplotlib import get_data_path

    path = Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(str(path), size) if path.is_file() else ImageFont.load_default(size)


def width(text: str, size: int) -> int:
    """Return the width of a text in pixels, rounded up."""
    return int(-(-font(size).getlength(text) // 1))


def is_drawable(text: str) -> bool:
    """Tell if the font has all characters of a text, and none is a control character."""
    if not text.isprintable():
        return False
    drawn = font(24)
    missing = drawn.getmask("\uffff")
    masks = (drawn.getmask(character) for character in set(text) if not character.isspace())
    return not any(mask.size == missing.size and bytes(mask) == bytes(missing) for mask in masks)


def wrapped(text: str, size: int, room: int, most: int) -> list[str]:
    """Return a text in at most `most` lines that are no wider than `room` pixels; the last one ends in … if cut."""
    lines: list[str] = []
    words = text.split()
    while words and len(lines) < most:
        count = 1
        while count < len(words) and width(" ".join(words[: count + 1]), size) <= room:
            count += 1
        lines.append(" ".join(words[:count]))
        words = words[count:]
    if words:
        lines[-1] = f"{lines[-1]} {ELLIPSIS}"
    return [_cut(line, size, room) for line in lines]


def _cut(line: str, size: int, room: int) -> str:
    """Return a line, with its end replaced by … if it is too wide."""
    if width(line, size) <= room:
        return line
    low, high = 0, len(line)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if width(line[:middle] + ELLIPSIS, size) <= room else (low, middle - 1)
    return line[:low] + ELLIPSIS
