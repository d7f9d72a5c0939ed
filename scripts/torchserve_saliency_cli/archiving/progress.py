"""What the command is doing, on stderr: one line per step, and a bar for a step of many parts on a terminal."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")
_EVERY = 10.0  # seconds between lines if there is no terminal
MARK = "progress: "  # begins a line of a process that another one runs, which passes it on


def step(text: str) -> None:
    """Print the name of a step that begins."""
    print(f"{text} ...", file=sys.stderr, flush=True)


def relay_progress() -> None:
    """Write the log messages of this package to stderr, so that the process that runs this one passes them on."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(f"{MARK}%(message)s"))
    logger = logging.getLogger(__name__.partition(".")[0])
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


def counted(items: Sequence[T], text: str) -> Iterator[T]:
    """Yield the items, with a bar on a terminal, else with a line every ten seconds."""
    if sys.stderr.isatty():
        yield from tqdm(items, desc=text, file=sys.stderr, leave=False)
        return
    last = time.monotonic()
    for count, item in enumerate(items):
        if time.monotonic() - last > _EVERY:
            last = time.monotonic()
            step(f"{text}: {count} of {len(items)}")
        yield item
