"""A folder of drawn leaves whose subfolders name their classes."""

from __future__ import annotations

from pathlib import Path

from torchserve_saliency_cli.leaves.draw import CLASSES, DISEASES, draw

EACH = 6
FIRST_SEED = 900


def draw_labelled(folder: Path) -> None:
    """Draw EACH leaves of each class into subfolders, unless they are there."""
    for row, name in enumerate(CLASSES):
        place = folder / name.replace(" ", "_")
        place.mkdir(parents=True, exist_ok=True)
        for number in range(EACH):
            file = place / f"{number + 1}.png"
            if not file.exists():
                draw(FIRST_SEED + row * EACH + number, [name] if name in DISEASES else []).image.save(file)
