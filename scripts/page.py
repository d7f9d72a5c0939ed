"""Run `torchserve-saliency page` from a clone: `python scripts/page.py --help`."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "handlers")]

from torchserve_saliency_cli.page import main

if __name__ == "__main__":
    main()
