"""Run `torchserve-saliency archive` from a clone: `python scripts/archive.py --help`."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "handlers")]

from torchserve_saliency_cli.archive import main

if __name__ == "__main__":
    sys.exit(main())
