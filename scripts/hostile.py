"""The corpus of hostile requests, listed, or its pictures written into a folder.

python scripts/hostile.py
python scripts/hostile.py --pictures build/hostile
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "handlers")]

from scripts.corpus import entries, files


def main(words: Sequence[str] | None = None) -> int:
    """Print each entry with the statuses it may have, or write the pictures; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="hostile.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=Path, help="folder that the pictures are written to, by number")
    folder = parser.parse_args(words).pictures
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
