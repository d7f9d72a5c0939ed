"""How often docstrings say "what", "if" and "where", per 1,000 words: python -m tools.wording [FOLDER …]"""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tools import ROOT

FOLDERS = ("handlers", "scripts", "tools", "tests")
WORDS = ("what", "if", "where")
_WORD = re.compile(r"[A-Za-z][A-Za-z'-]*")


def main(folders: Sequence[str]) -> None:
    """Print one line per folder."""
    for folder in folders or FOLDERS:
        found = rates(docstrings(ROOT / folder))
        print(f"{folder:<10}" + "".join(f"  {word} {rate:5.1f}" for word, rate in found.items()))


def docstrings(folder: Path) -> Iterator[str]:
    """Yield every docstring below a folder."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, documented) and (text := ast.get_docstring(node)):
                yield text


def rates(texts: Iterator[str]) -> dict[str, float]:
    """Return how often each of WORDS stands in 1,000 words of the texts."""
    counts = Counter(word.lower() for text in texts for word in _WORD.findall(text))
    total = sum(counts.values())
    return {word: 1000 * counts[word] / total for word in WORDS}


if __name__ == "__main__":
    main(sys.argv[1:])
