"""The files and the lines of code that a person takes from a card give the same map."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Download

from tests.cli.web.visit import PageServer, Visit
from torchserve_saliency import Client

ROOT = Path(__file__).resolve().parents[3]
CARD = "integrated_gradients?steps=4&baseline=black&reduce=sum"
NAMES = ["leaf.png", 'a leaf\'s, picture; "2" & Ä.png', "-F.png"]


def take(visit: Visit, method: str) -> None:
    visit.card(method).get_by_text("Download, curl, Python").click()


def downloaded(visit: Visit, button: str) -> tuple[str, bytes]:
    """Return the name and the content of the file that a button offers."""
    with visit.page.expect_download() as waiting:
        visit.page.get_by_role("button", name=button).click()
    offered: Download = waiting.value
    return offered.suggested_filename, Path(offered.path()).read_bytes()


@pytest.fixture
def folder(page_server: PageServer, tmp_path: Path) -> Path:
    """Return a folder with the key file, as a person has it who runs the lines."""
    place = tmp_path / "place"
    place.mkdir()
    shutil.copy(page_server.key_file, place / "key_file.json")
    return place


def lines(visit: Visit, page_server: PageServer, folder: Path, name: str, language: str) -> str:
    """Return the lines for a picture with a file name, which is written to a folder."""
    picture = folder / name
    picture.write_bytes((page_server.samples / "rust" / "2.png").read_bytes())
    visit.open(CARD, **{"class": "scab", "against": "rust"})
    visit.upload(picture)
    take(visit, "integrated_gradients")
    visit.card("integrated_gradients").get_by_role("button", name=f"Copy {language}").click()
    text = visit.card("integrated_gradients").get_by_role("region", name=language, exact=True).text_content()
    assert text == visit.page.evaluate("navigator.clipboard.readText()")
    return text or ""


def expected(page_server: PageServer) -> NDArray[np.float32]:
    options: dict[str, object] = {"method": "integrated_gradients", "steps": 4, "baseline": "black", "reduce": "sum"}
    with Client(page_server.torchserve.url, key_file=page_server.key_file) as client:
        picture = page_server.samples / "rust" / "2.png"
        options |= {"target": "scab", "against": "rust", "format": "npy"}
        return client.explain(picture, model="leaves", version="1.0", **options).array


@pytest.mark.parametrize("name", NAMES)
def test_the_curl_line_gives_the_same_map(visit: Visit, page_server: PageServer, folder: Path, name: str) -> None:
    if shutil.which("curl") is None:
        pytest.skip("the test needs curl, which is not installed")
    line = lines(visit, page_server, folder, name, "curl")
    done = subprocess.run(["bash", "-ec", line], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    array = np.load(folder / "map.npy")
    assert np.array_equal(array, expected(page_server))


@pytest.mark.parametrize("name", NAMES)
def test_the_python_lines_give_the_same_map(visit: Visit, page_server: PageServer, folder: Path, name: str) -> None:
    text = lines(visit, page_server, folder, name, "Python")
    (folder / "lines.py").write_text(f"{text}\nimport numpy\nnumpy.save('map.npy', saliency)\n")
    path = os.pathsep.join(str(ROOT / part) for part in ("handlers", "scripts"))
    environment = os.environ | {"PYTHONPATH": path}
    command = [sys.executable, "lines.py"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    array, exact = np.load(folder / "map.npy"), expected(page_server)
    assert array.shape == exact.shape
    assert float(np.abs(array - exact).max()) <= float(np.ptp(exact)) / 255


def test_a_map_is_downloaded_as_npy(visit: Visit, page_server: PageServer) -> None:
    visit.open(CARD, picture="sample:rust/2.png", **{"class": "scab", "against": "rust"})
    take(visit, "integrated_gradients")
    name, content = downloaded(visit, "Download npy")
    assert name == "integrated_gradients.npy"
    assert np.array_equal(np.load(io.BytesIO(content)), expected(page_server))


def test_a_map_is_downloaded_as_png_with_its_caption(visit: Visit) -> None:
    visit.open("grad_cam", **{"class": "black rot"})
    take(visit, "grad_cam")
    name, content = downloaded(visit, "Download PNG")
    assert name == "grad_cam_black_rot.png"
    image = Image.open(io.BytesIO(content))
    width = visit.map("grad_cam").evaluate("canvas => canvas.width")
    assert image.width == width < image.height
    assert len(np.unique(np.asarray(image))) > 100


def test_no_line_has_a_token(visit: Visit, page_server: PageServer) -> None:
    visit.open("gradient")
    token = page_server.torchserve.token()
    assert token is not None
    assert token not in visit.page.content()
    assert "key_file.json" in visit.page.content()
