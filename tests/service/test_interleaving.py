"""Several iterators as one: everything comes, as soon as it is there, and one error ends all."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from service.interleaving import interleaved


async def counting(*items: int, pause: float = 0.0) -> AsyncIterator[int]:
    for item in items:
        await asyncio.sleep(pause)
        yield item


async def test_all_items_come_and_none_waits_for_a_slow_neighbour() -> None:
    found = [item async for item in interleaved([counting(1, 2, 3), counting(10, pause=0.2)])]
    assert found == [1, 2, 3, 10]


async def test_of_nothing_comes_nothing() -> None:
    nothing: list[AsyncIterator[int]] = []
    assert [item async for item in interleaved(nothing)] == []
    assert [item async for item in interleaved([counting()])] == []


async def test_the_first_error_ends_all() -> None:
    ended = asyncio.Event()

    async def failing() -> AsyncIterator[int]:
        yield 1
        raise OSError("broken")

    async def patient() -> AsyncIterator[int]:
        try:
            await asyncio.sleep(60)
            yield 2
        finally:
            ended.set()

    iterator = interleaved([failing(), patient()])
    assert await anext(iterator) == 1
    with pytest.raises(OSError, match="broken"):
        await anext(iterator)
    assert ended.is_set()


async def test_whoever_stops_listening_stops_all() -> None:
    ended = asyncio.Event()

    async def endless() -> AsyncIterator[int]:
        try:
            while True:
                await asyncio.sleep(0)
                yield 1
        finally:
            ended.set()

    iterator = interleaved([endless()])
    async for _ in iterator:
        break
    await iterator.aclose()  # type: ignore[attr-defined]
    assert ended.is_set()
