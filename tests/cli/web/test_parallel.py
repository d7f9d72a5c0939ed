"""Several coroutines at once."""

from __future__ import annotations

import asyncio

import pytest

from torchserve_saliency_cli.web.parallel import in_parallel


class Jobs:
    """Coroutines that count how many of them run."""

    def __init__(self) -> None:
        self.running = self.most = self.started = 0

    async def job(self, number: int) -> int:
        self.started += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(0.001 * (number % 3))
            if number == 13:
                raise ValueError("unlucky")
            return number
        finally:
            self.running -= 1


def test_all_results_arrive_and_only_some_jobs_run_at_once() -> None:
    jobs = Jobs()

    async def collect() -> list[int]:
        return [one async for one in in_parallel((jobs.job(number) for number in range(12)), 4)]

    assert sorted(asyncio.run(collect())) == list(range(12))
    assert (jobs.most, jobs.running) == (4, 0)


def test_an_error_ends_the_other_jobs() -> None:
    jobs = Jobs()

    async def collect() -> None:
        async for _ in in_parallel((jobs.job(number) for number in range(100)), 4):
            pass

    with pytest.raises(ValueError, match="unlucky"):
        asyncio.run(collect())
    assert jobs.running == 0
    assert jobs.started < 20


def test_a_closed_iterator_ends_the_jobs() -> None:
    jobs = Jobs()

    async def leave() -> int:
        results = in_parallel((jobs.job(number) for number in range(12)), 4)
        first = await anext(results)
        await results.aclose()  # type: ignore[attr-defined]
        return first

    assert asyncio.run(leave()) in range(12)
    assert jobs.running == 0
    assert jobs.started <= 5
