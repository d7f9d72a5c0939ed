"""The imports of the user's files that an archive does not hold (F9)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.archives import parsed_arguments
from torchserve_saliency_cli.archiving.imports import imports_of, missing_imports

CODE = """
from __future__ import annotations
import os.path, numpy as np
import torch.nn as nn, torchvision
from PIL import Image
from typing import TYPE_CHECKING
import blocks
from .relative import x
from layers.deep import y

if TYPE_CHECKING:
    import only_for_types
else:
    import otherwise
try:
    import optional
except ImportError:
    import fallback
try:
    import needed
except ValueError:
    pass

class Net(nn.Module):
    def forward(self, x):
        from transformers import AutoModel
        import skimage.filters
        return x
"""


def test_imports_are_found_at_the_top_and_in_functions(tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    file.write_text(CODE)
    found = {each.package: each.line for each in imports_of(file)}
    assert found.keys() >= {"os", "numpy", "torch", "torchvision", "PIL", "blocks", "layers", "transformers", "skimage"}
    assert {"otherwise", "fallback", "needed"} <= found.keys()
    assert not {"relative", "only_for_types", "optional", ""} & found.keys()
    assert found["transformers"] == CODE.splitlines().index("        from transformers import AutoModel") + 1


@pytest.mark.parametrize("listed", [False, True])
def test_f9_packages_that_neither_the_archive_nor_the_image_has_are_named(tmp_path: Path, listed: bool) -> None:
    """F9: transformers in a function; a package of another name in the list of requirements."""
    (tmp_path / "net.py").write_text(CODE)
    (tmp_path / "blocks.py").write_text("import einops\nimport layers.deep\nimport net\n")
    (tmp_path / "layers").mkdir()
    (tmp_path / "layers" / "deep.py").write_text("import yaml, matplotlib, ts\nimport transformers\n")
    (tmp_path / "requirements.txt").write_text(
        "# packages\nscikit-image>=0.2\nTransformers==4.1 ; python_version > '3'\n"
    )
    words = ["--model-file", str(tmp_path / "net.py"), "--weights", "none"]
    words += ["--extra-files", f"{tmp_path / 'blocks.py'},{tmp_path / 'layers'}"]
    words += ["--requirements-file", str(tmp_path / "requirements.txt")] if listed else []
    missing = missing_imports(parsed_arguments(*words))
    expected = {"otherwise", "fallback", "needed", "einops"} | (set() if listed else {"transformers", "skimage"})
    assert {each.package for each in missing} == expected
    assert {each.file for each in missing if each.package == "einops"} == {"blocks.py"}
