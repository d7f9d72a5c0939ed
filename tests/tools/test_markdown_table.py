"""Markdown tables: alignment, padding and escaping."""

from __future__ import annotations

import pytest

from tools.markdown_table import markdown_table


def test_numbers_are_aligned_to_the_right_and_pipes_are_escaped() -> None:
    assert markdown_table(["name", "ms"], [["a|b", "1,000.5 [1, 2]"], ["two\nlines", ""]], "lr").splitlines() == [
        r"| name      |             ms |",
        r"|:----------|---------------:|",
        r"| a\|b      | 1,000.5 [1, 2] |",
        r"| two lines |                |",
    ]


@pytest.mark.parametrize(("rows", "alignment"), [([["a"]], "lr"), ([["a", "b"]], "l")])
def test_cells_and_columns_must_match(rows: list[list[str]], alignment: str) -> None:
    with pytest.raises(ValueError, match="does not fit the 2 columns"):
        markdown_table(["name", "ms"], rows, alignment)
