"""A contact sheet: titled sections with pictures in rows and columns, captions and bar charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from textwrap import wrap

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

SIDE = 224
GAP = 14
MARGIN = 32
CAPTION = 26
WHITE, INK, FAINT = "#ffffff", "#1f2a24", "#6b766f"
BAR, REST = "#d9822b", "#b9c4bd"


@dataclass(frozen=True)
class Cell:
    """A picture, shown within a square of 224 pixels, and its caption."""

    picture: Image.Image
    caption: str = ""


@dataclass(frozen=True)
class Section:
    """A part of the sheet: its title and note, its columns' headings, and its rows of cells."""

    title: str
    note: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]


def contact_sheet(title: str, sections: Sequence[Section]) -> Image.Image:
    """Return the sheet: the title, and below it the sections."""
    columns = max(len(section.columns) for section in sections)
    width = 2 * MARGIN + columns * (SIDE + GAP) - GAP
    height = MARGIN + 52 + sum(_height(section) for section in sections) + MARGIN // 2
    sheet = Image.new("RGB", (width, height), WHITE)
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN, MARGIN), title, INK, font(30, bold=True))
    top = MARGIN + 52
    for section in sections:
        _draw_section(sheet, pen, section, top)
        top += _height(section)
    return sheet


def bars(shares: Mapping[str, float]) -> Image.Image:
    """Return a bar chart of probabilities as a square picture, with the highest in colour."""
    chart = Image.new("RGB", (SIDE, SIDE), WHITE)
    pen = ImageDraw.Draw(chart)
    step = SIDE // max(len(shares), 1)
    for row, (label, share) in enumerate(shares.items()):
        top = row * step + 6
        best = share == max(shares.values())
        pen.text((0, top), label, INK, font(16, bold=best))
        pen.text((SIDE, top), f"{share:.1%}", INK, font(16, bold=best), anchor="ra")
        pen.rectangle((0, top + 24, SIDE - 1, top + 32), "#eef1ef")
        pen.rectangle((0, top + 24, max(1, round(share * (SIDE - 1))), top + 32), BAR if best else REST)
    return chart


def words(text: str) -> Image.Image:
    """Return a text as a square picture."""
    page = Image.new("RGB", (SIDE, SIDE), WHITE)
    ImageDraw.Draw(page).multiline_text((0, 0), "\n".join(wrap(text, 26)), FAINT, font(15), spacing=6)
    return page


def outlined(picture: Image.Image, masks: Mapping[str, NDArray[np.bool_]], colours: Mapping[str, str]) -> Image.Image:
    """Return the picture with the outline of each mask [H, W] in its colour."""
    drawn = picture.convert("RGB")
    for name, colour in colours.items():
        mask = Image.fromarray(np.asarray(masks[name], np.uint8) * 255)
        rim = np.asarray(mask.filter(ImageFilter.MaxFilter(5))) > np.asarray(mask.filter(ImageFilter.MaxFilter(3)))
        drawn.paste(colour, (0, 0), Image.fromarray(np.asarray(rim, np.uint8) * 255))
    return drawn


@cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return the font of Matplotlib at this size in pixels."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", name)), size)


def _height(section: Section) -> int:
    return 100 + len(section.rows) * (SIDE + CAPTION + GAP)


def _draw_section(sheet: Image.Image, pen: ImageDraw.ImageDraw, section: Section, top: int) -> None:
    pen.line((MARGIN, top + 4, sheet.width - MARGIN, top + 4), REST)
    pen.text((MARGIN, top + 14), section.title, INK, font(20, bold=True))
    pen.text((MARGIN, top + 42), section.note, FAINT, font(15))
    for column, heading in enumerate(section.columns):
        pen.text((_left(column), top + 74), heading, INK, font(15, bold=True))
    for number, cells in enumerate(section.rows):
        row_top = top + 98 + number * (SIDE + CAPTION + GAP)
        for column, cell in enumerate(cells):
            shown = ImageOps.contain(cell.picture.convert("RGBA"), (SIDE, SIDE), Image.Resampling.BICUBIC)
            across, down = (SIDE - shown.width) // 2, (SIDE - shown.height) // 2
            sheet.paste(shown, (_left(column) + across, row_top + down), shown)
            pen.text((_left(column), row_top + SIDE + 5), cell.caption, FAINT, font(14))


def _left(column: int) -> int:
    return MARGIN + column * (SIDE + GAP)
