"""Colormaps are found by name in any case; if no colour is needed, Matplotlib is not imported."""

from __future__ import annotations

import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.drawing import bump, colours_of, pixels_of
from torchserve_saliency.errors import RequestError
from torchserve_saliency.responses.colormap import check_colormap


@pytest.mark.parametrize(
    ("sent", "name"), [("viridis", "viridis"), ("VIRIDIS", "viridis"), ("rdbu_R", "RdBu_r"), ("GnBu", "GnBu")]
)
def test_colormaps_are_found_in_any_case(sent: str, name: str) -> None:
    assert check_colormap(sent) == name


def test_every_colormap_of_matplotlib_is_drawn() -> None:
    for name in matplotlib.colormaps:
        drawn = pixels_of(bump(), "heatmap", colormap=name.swapcase(), clip=100)
        assert np.abs(drawn[24, 32] - colours_of(name, 1.0)).max() <= 1, name


def test_an_unknown_colormap_is_an_error_with_similar_names() -> None:
    with pytest.raises(RequestError, match="'virdis'; did you mean 'viridis'") as caught:
        check_colormap("virdis")
    assert (caught.value.status, caught.value.option) == (400, "colormap")


@given(st.text(max_size=300))
def test_any_name_is_found_or_a_short_error(name: str) -> None:
    try:
        assert check_colormap(name).casefold() == name.casefold()
    except RequestError as caught:
        assert caught.option == "colormap"
        assert len(caught.message) < 700


def test_matplotlib_is_imported_only_for_colours() -> None:
    code = "import sys, torchserve_saliency.responses.encoding; sys.exit('matplotlib' in sys.modules)"
    path = [entry for entry in sys.path if entry]
    done = subprocess.run([sys.executable, "-c", f"import sys; sys.path[:0] = {path!r}; {code}"], check=False)
    assert done.returncode == 0
