"""One piece of work for many requesters, whoever leaves."""

import asyncio

import pytest

from service.flights import Flights


class Work:
    """Counts its runs and ends when told."""

    def __init__(self) -> None:
        self.runs = 0
        self.cancelled = 0
        self.joined = 0
        self.go = asyncio.Event()

    async def __call__(self) -> int:
        self.runs += 1
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return self.runs

    def join(self) -> None:
        self.joined += 1


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_many_requesters_one_run():
    work = Work()
    flights: Flights[int] = Flights(work.join)
    requests = [asyncio.create_task(flights.join("a", work)) for _ in range(200)]
    await settle()
    work.go.set()
    assert await asyncio.gather(*requests) == [1] * 200
    assert (work.runs, work.joined) == (1, 199)


async def test_the_first_requester_may_leave():
    work = Work()
    flights: Flights[int] = Flights(work.join)
    first, second = (asyncio.create_task(flights.join("a", work)) for _ in range(2))
    await settle()
    first.cancel()
    await settle()
    work.go.set()
    assert await second == 1
    assert (work.runs, work.cancelled) == (1, 0)


async def test_work_nobody_waits_for_is_cancelled_and_can_start_anew():
    work = Work()
    flights: Flights[int] = Flights(work.join)
    request = asyncio.create_task(flights.join("a", work))
    await settle()
    request.cancel()
    again = asyncio.create_task(flights.join("a", work))
    await settle()
    work.go.set()
    assert await again == 2
    assert work.cancelled == 1


async def test_an_error_reaches_every_requester_and_is_not_kept():
    async def fail() -> int:
        await asyncio.sleep(0)
        raise ValueError("no")

    flights: Flights[int] = Flights(lambda: None)
    results = await asyncio.gather(*(flights.join("a", fail) for _ in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [ValueError] * 3
    with pytest.raises(ValueError):
        await flights.join("a", fail)


async def test_keys_do_not_mix():
    flights: Flights[str] = Flights(lambda: None)

    async def name(text: str) -> str:
        await asyncio.sleep(0)
        return text

    found = await asyncio.gather(*(flights.join(key, lambda key=key: name(key)) for key in "abc"))
    assert found == ["a", "b", "c"]
