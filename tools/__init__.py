"""Tools for the developers of this project. Run them from the repository's root: `python -m tools.benchmark`."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [folder for name in ("handlers", "scripts") if (folder := str(ROOT / name)) not in sys.path]
