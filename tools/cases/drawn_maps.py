"""Captions of drawn maps, and the grids that they are made of (F3, F4)."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tools.cases.case import check
from tools.cases.inputs import SIDE, archive_small, file_of, photograph
from tools.cases.workshop import InProcess, Workshop

LEAST = 224
WHITE = 250


def captions(workshop: Workshop) -> str:
    """F3: a drawn map has its class, probability, method and scale, and small maps are enlarged."""
    handler, data = workshop.handler(archive_small(workshop)), file_of(photograph())
    options = {"data": data, "method": "integrated_gradients", "reduce": "sum"}
    bare, drawn = _drawn(handler, **options), _drawn(handler, **options, caption="true")
    factor = LEAST // SIDE
    enlarged = bare.repeat(factor, 0).repeat(factor, 1)
    top, left = _place(drawn, enlarged)
    below = drawn[top + enlarged.shape[0] :]
    check(bool((drawn[:top] < WHITE).any()), "there is no text above the map")
    check(bool((below < WHITE).any()), "there is neither scale nor text below the map")
    _check_scale(below[:, left : left + enlarged.shape[1]])
    other = _drawn(handler, **{**options, "target": "healthy"}, caption="true")
    check(bool((other[: top - 20] != drawn[: top - 20]).any()), "the class is not in the caption")
    several = {**options, "target": "top3", "render": "side_by_side"}
    row, plain = _drawn(handler, **several, caption="true"), _drawn(handler, **several)
    check(plain.shape[:2] == (SIDE, 9 * SIDE), f"nine panels without a caption: {plain.shape}")
    check(row.shape[1] >= 9 * LEAST, f"nine panels are {row.shape[1]} pixels wide")
    return f"{SIDE} pixels are drawn as {LEAST}, with class, probability, method, colour scale and range"


def _drawn(handler: InProcess, **options: object) -> NDArray[np.uint8]:
    """Return the pixels of the picture that is the answer to a request."""
    answer = handler.ask({"render": "heatmap", **options, "format": "png"})
    check(answer.status == 200, f"status {answer.status}: {answer.body}")
    return np.asarray(Image.open(io.BytesIO(answer.body)).convert("RGB"))


def _place(page: NDArray[np.uint8], part: NDArray[np.uint8]) -> tuple[int, int]:
    """Return the top and the left of a part in a page; raise AssertionError if it is not there, pixel by pixel."""
    height, width = part.shape[:2]
    for top in range(page.shape[0] - height + 1):
        for left in range(page.shape[1] - width + 1):
            if (page[top, left] == part[0, 0]).all() and (page[top : top + height, left : left + width] == part).all():
                return top, left
    raise AssertionError("the enlarged map is not in the picture with a caption")


def _check_scale(below: NDArray[np.uint8]) -> None:
    """Raise AssertionError unless a bar from blue over white to red is below a signed map."""
    for line in below.astype(int):
        red, blue = line[:, 0] - line[:, 2], line[:, 2] - line[:, 0]
        if blue[0] > 200 and red[-1] > 200 and (line[len(line) // 2] > 240).all():
            return
    raise AssertionError("there is no colour scale below the map")


def coarse_grids(workshop: Workshop) -> str:
    """F4: the archive's summary and the answer name the grid of Grad-CAM, and a layer with a finer one."""
    labels = workshop.write("labels.txt", "scab\nrust\nblack rot\nhealthy")
    size = ("--input-size", 128, "--resize", 128, "--labels", labels)
    archived = workshop.archive("--arch", "resnet18", "--weights", "none", "--num-classes", 4, *size)
    handler = workshop.handler(archived)
    (line,) = [line for line in archived.output.splitlines() if "CAM layer" in line]
    check("layer4" in line and "4 x 4" in line and "layer3" in line, f"the summary: {line}")
    data = file_of(photograph((150, 140)))
    (entry,) = handler.ask({"data": data, "method": "grad_cam"}).body["explanations"]
    notes = " ".join(entry.get("notes", ()))
    check(entry["layer_grid"] == [4, 4] and "4 x 4" in notes and "layer=layer3" in notes, f"notes: {notes}")
    (finer,) = handler.ask({"data": data, "method": "grad_cam", "layer": "layer3"}).body["explanations"]
    check(
        finer["layer_grid"] == [8, 8] and not finer.get("notes"), f"layer3: {finer['layer_grid']} {finer.get('notes')}"
    )
    return f"the summary: {line.split('CAM layer')[1].strip()}; the answer: {notes}"
