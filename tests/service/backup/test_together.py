"""Several pieces of work at once."""

import asyncio

import pytest

from service.backup.together import together


async def test_the_first_error_ends_all_and_is_raised_as_it_is():
    done: list[str] = []

    async def work(name: str, seconds: float, error: Exception | None = None) -> None:
        await asyncio.sleep(seconds)
        if error:
            raise error
        done.append(name)

    await together([work("one", 0), work("two", 0)])
    assert sorted(done) == ["one", "two"]
    with pytest.raises(ZeroDivisionError):
        await together([work("late", 0.2), work("bad", 0, ZeroDivisionError())])
    await asyncio.sleep(0.3)
    assert sorted(done) == ["one", "two"]
