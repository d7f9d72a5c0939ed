"""The command `demo`, run as a user runs it, and its contact sheet."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from torchserve_saliency_cli.contact_sheet import SIDE, Cell, Section, bars, contact_sheet, outlined

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.server
def test_the_demonstration_runs_from_end_to_end(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "demo.py"), "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    assert "token authorization on" in done.stdout
    assert "rust against scab, by grad_cam" in done.stdout
    assert f"open {tmp_path / 'contact_sheet.png'}" in done.stdout
    saved = {path.name for path in tmp_path.iterdir()}
    assert {"rust.grad_cam.png", "rust_and_scab.guided_backprop.rust-against-scab.png"} <= saved
    rust, scab = (Image.open(tmp_path / f"rust_and_scab.grad_cam.{name}.png") for name in ("rust", "scab"))
    assert rust.size == scab.size == (224, 224)
    assert np.asarray(rust).tolist() != np.asarray(scab).tolist()


def test_every_picture_is_in_its_column_of_the_sheet() -> None:
    red, blue = (Image.new("RGB", (10, 10), colour) for colour in ("red", "blue"))
    sheet = contact_sheet("Title", [Section("One", "note", ["a", "b"], [[Cell(red, "left"), Cell(blue)]] * 2)])
    pixels = np.asarray(sheet)
    reds, blues = ((pixels == colour).all(-1) for colour in ([255, 0, 0], [0, 0, 255]))
    assert reds.sum() == blues.sum() == 2 * SIDE * SIDE
    assert np.nonzero(reds)[1].max() < np.nonzero(blues)[1].min()


def test_bars_are_as_long_as_their_probabilities() -> None:
    chart = np.asarray(bars({"rust": 0.75, "scab": 0.25}))
    best = (chart == [0xD9, 0x82, 0x2B]).all(-1)
    assert np.nonzero(best)[1].max() == pytest.approx(0.75 * SIDE, abs=2)


def test_outlines_run_around_the_mask_and_not_inside_it() -> None:
    mask = np.zeros((20, 20), bool)
    mask[5:10, 5:10] = True
    drawn = np.asarray(outlined(Image.new("RGB", (20, 20)), {"rust": mask}, {"rust": "#ff0000"}))
    rim = drawn[..., 0] == 255
    assert rim.any()
    assert not (rim & mask).any()
    assert np.nonzero(rim)[0].min() == 3
