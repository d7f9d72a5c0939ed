"""The structure of the engine stays simple enough to read."""

from __future__ import annotations

from tools.structure import default_explanation, files_entered

MOST_FILES = 33


def test_a_default_explanation_enters_few_files() -> None:
    entered = files_entered(default_explanation())
    assert entered[0] == "saliency_handler.py"
    assert len(entered) <= MOST_FILES, "\n".join(entered)
