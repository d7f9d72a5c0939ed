"""The division of the tests between processes: a file is run by one process, and one process has the live server."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from xdist.scheduler import LoadScopeScheduling

ROOT = Path(__file__).resolve().parents[1]
SERVED = re.compile(r"\b(server: TorchServe|model_store: Path|page_server: PageServer|visit: Visit|new_visit: )")


class ByServerAndFile(LoadScopeScheduling):  # type: ignore[misc,unused-ignore]
    """Sends all files that use the live server to one process, as it takes minutes and gigabytes to start."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return "server" if uses_server(path) else path


@cache
def uses_server(path: str) -> bool:
    """Tell if a file of tests uses the live server."""
    return path.startswith("tests/server/") or bool(SERVED.search((ROOT / path).read_text(encoding="utf-8")))
