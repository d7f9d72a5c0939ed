"""List the corpus of hostile requests, or write its pictures to a folder.

python -m tools.corpus
python -m tools.corpus --pictures build/hostile
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.corpus import entries, files


def main(arguments: Sequence[str] | None = None) -> int:
    """Print each entry with its allowed statuses, or write the pictures; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.corpus", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=Path, help="folder for the pictures; file names are numbers")
    folder = parser.parse_args(arguments).pictures
    if folder is None:
        for entry in entries():
            print(" ".join(map(str, sorted(entry.statuses))), ascii(entry.name))
        return 0
    folder.mkdir(parents=True, exist_ok=True)
    for number, (name, data, _) in enumerate(files()):
        (folder / f"{number:04}").write_bytes(data)
        print(f"{number:04} {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
