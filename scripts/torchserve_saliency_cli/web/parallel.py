"""Several coroutines at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


async def in_parallel(jobs: Iterable[Coroutine[None, None, T]], most: int) -> AsyncIterator[T]:
    """Yield the results of coroutines as they arrive; at most `most` of them run at once.

    If one fails, or if the iterator is closed, those that run are cancelled.
    """
    waiting, running = iter(jobs), set[asyncio.Task[T]]()
    try:
        while True:
            running.update(map(asyncio.create_task, islice(waiting, most - len(running))))
            if not running:
                return
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                result = task.result()
                running.remove(task)
                yield result
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
