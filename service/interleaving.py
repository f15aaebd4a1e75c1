"""Several iterators at once, as one."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

T = TypeVar("T")


async def interleaved(iterators: Iterable[AsyncIterator[T]]) -> AsyncIterator[T]:
    """The items of all of them, as they come. The first error ends all, and is raised."""
    items: asyncio.Queue[tuple[T] | None] = asyncio.Queue()

    async def follow(iterator: AsyncIterator[T]) -> None:
        async for item in iterator:
            items.put_nowait((item,))

    tasks = [asyncio.create_task(follow(iterator)) for iterator in iterators]
    ended = asyncio.gather(*tasks)
    ended.add_done_callback(lambda _: items.put_nowait(None))
    try:
        while (item := await items.get()) is not None:
            yield item[0]
        await ended
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
