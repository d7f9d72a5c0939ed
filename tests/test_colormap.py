"""Colormaps are Matplotlib's, found in any case, and without Matplotlib where no colour is asked for."""

from __future__ import annotations

import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saliency.errors import RequestError
from saliency.render import check_colormap
from tests.drawing import bump, colours_of, pixels_of


@pytest.mark.parametrize(
    ("asked", "name"), [("viridis", "viridis"), ("VIRIDIS", "viridis"), ("rdbu_R", "RdBu_r"), ("GnBu", "GnBu")]
)
def test_colormaps_are_found_in_any_case(asked: str, name: str) -> None:
    assert check_colormap(asked) == name


def test_every_colormap_of_matplotlib_is_drawn() -> None:
    for name in matplotlib.colormaps:
        drawn = pixels_of(bump(), "heatmap", colormap=name.swapcase(), clip=100)
        assert np.abs(drawn[24, 32] - colours_of(name, 1.0)).max() <= 1, name


def test_an_unknown_colormap_is_answered_with_near_ones() -> None:
    with pytest.raises(RequestError, match="'virdis'; did you mean 'viridis'") as refusal:
        check_colormap("virdis")
    assert (refusal.value.status, refusal.value.option) == (400, "colormap")


@given(st.text(max_size=300))
def test_any_name_is_found_or_refused_briefly(name: str) -> None:
    try:
        assert check_colormap(name).casefold() == name.casefold()
    except RequestError as refusal:
        assert refusal.option == "colormap"
        assert len(refusal.message) < 700


def test_matplotlib_is_imported_only_for_colours() -> None:
    code = "import sys, saliency.response; sys.exit('matplotlib' in sys.modules)"
    path = [entry for entry in sys.path if entry]
    done = subprocess.run([sys.executable, "-c", f"import sys; sys.path[:0] = {path!r}; {code}"], check=False)
    assert done.returncode == 0
