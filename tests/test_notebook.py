"""The page docs/notebook.md as one notebook, executed by a kernel of Jupyter, and the README's block in Python (E1)."""

from __future__ import annotations

import base64
import io
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECTION = re.compile(r"^## (.*)$", re.MULTILINE)


def cells(page: str) -> list[str]:
    """Return the blocks of Python of a page."""
    return BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))


def executed(codes: list[str], folder: Path) -> list[Mapping[str, Any]]:
    """Return the cells of a notebook with these codes, after it was executed in a folder."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in codes])
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    return list(client.execute().cells)


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> list[Mapping[str, Any]]:
    """Return the executed cells of the page, with the packages on PYTHONPATH as after `pip install .`."""
    folder = tmp_path_factory.mktemp("notebook")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "handlers"), str(ROOT / "scripts")]))
        patch.setenv("JUPYTER_PLATFORM_DIRS", "1")
        patch.setenv("IPYTHONDIR", str(folder / "ipython"))
        made = executed(cells("docs/notebook.md"), folder)
    assert {path.name for path in folder.glob("guided.*")} == {"guided.png", "guided.jpg", "guided.npy"}
    return made


def outputs(notebook: list[Mapping[str, Any]], code: str) -> list[Mapping[str, Any]]:
    """Return the data of the outputs of the first cell with a text in its code."""
    cell = next(cell for cell in notebook if code in cell["source"])
    return [output["data"] for output in cell["outputs"] if "data" in output]


def printed(notebook: list[Mapping[str, Any]], code: str) -> str:
    cell = next(cell for cell in notebook if code in cell["source"])
    return "".join(output["text"] for output in cell["outputs"] if output["output_type"] == "stream")


def test_no_cell_fails_or_warns(notebook: list[Mapping[str, Any]]) -> None:
    assert len(notebook) >= 15
    for cell in notebook:
        for output in cell["outputs"]:
            assert output["output_type"] != "error", cell["source"]
            assert output.get("name") != "stderr", output["text"]


@pytest.mark.parametrize(
    "code",
    [
        "explainer.explain(leaf)\n",
        'layer="textures"',
        'method="feature_maps"',
        'method="occlusion"',
        'target="scab"',
        "both = explainer",
        'against="scab"',
        'method="activation_maximization"',
    ],
)
def test_e3_an_explanation_in_a_cell_shows_itself(notebook: list[Mapping[str, Any]], code: str) -> None:
    (shown,) = outputs(notebook, code)
    html = shown["text/html"]
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    assert len(pictures) == (2 if "both" in code else 1)
    for data in (*pictures, shown["image/png"]):
        assert min(Image.open(io.BytesIO(base64.b64decode(data))).size) >= 200
    assert "rust" in html
    assert "class 1" in html


@pytest.mark.parametrize(
    "code", ["figure, (left, right)", "figure, panels", 'guided.image("side', 'guided.image("over']
)
def test_a_picture_in_a_cell_is_shown(notebook: list[Mapping[str, Any]], code: str) -> None:
    (shown,) = outputs(notebook, code)
    assert Image.open(io.BytesIO(base64.b64decode(shown["image/png"]))).width >= 224


def test_the_printed_values(notebook: list[Mapping[str, Any]]) -> None:
    first, second, third = printed(notebook, "explain_many").splitlines()
    assert first == second
    assert third.startswith("400 the picture cannot be read")
    assert printed(notebook, "rast").startswith("422 UnknownLabelException target no class is named 'rast'")
    assert len(set(printed(notebook, "as_tensor").splitlines())) == 1
    assert printed(notebook, "on_progress=print").splitlines()[-1] in ("200", "201")


def test_every_block_of_the_page_is_plain_python_in_a_section(notebook: list[Mapping[str, Any]]) -> None:
    page = (ROOT / "docs" / "notebook.md").read_text(encoding="utf-8")
    assert {"A saliency map beside the picture", "Hidden layers", "Occlusion"} <= set(SECTION.findall(page))
    assert page.count("```") == 2 * len(notebook)
