"""A Python process that runs the blocks of a page one after another, as a notebook runs its cells."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

# Reads a line of JSON per block, and answers with one: if the block ran to its end, and its output.
LOOP = """
import contextlib, io, json, sys, traceback
replies, space = sys.stdout, {"__name__": "__main__"}
for line in sys.stdin:
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            exec(compile(json.loads(line), "<block>", "exec"), space)
            done = True
        except BaseException:
            traceback.print_exc()
            done = False
    print(json.dumps([done, output.getvalue()]), file=replies, flush=True)
"""


class BlockInterpreter:
    """Runs each block once, in a process that works in a folder with an environment."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._results: dict[str, tuple[bool, str]] = {}
        self._process = subprocess.Popen(
            [sys.executable, "-c", LOOP],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, code: str) -> tuple[bool, str]:
        """Return if a block ran to its end, and its output; a block that has run already is not run again."""
        if code not in self._results:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            print(json.dumps(code), file=self._process.stdin, flush=True)
            done, output = json.loads(self._process.stdout.readline())
            self._results[code] = (bool(done), str(output))
        return self._results[code]

    def close(self) -> None:
        """End the process."""
        self._process.communicate(timeout=60)
