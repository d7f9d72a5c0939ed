"""The self-check of an archive: can it be loaded and does its gradient tell the truth?

Runs in a process of its own, on a fresh unpacking, with the archive's own code and nothing of the repository:

    python -I scripts/archiving/check.py UNPACKED REPORT

REPORT becomes a JSON object: the figures, or `refused` with the reason.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

UNPACKED, REPORT = (Path(word).resolve() for word in sys.argv[1:3])
sys.path.insert(0, str(UNPACKED))
