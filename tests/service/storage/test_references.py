"""Who needs an original, and who may change it."""

import asyncio
import time

import pytest

from service.errors import StoreUnavailable

NAME = "0" * 64
PICTURE = "a" * 32


async def test_who_needs_it_is_remembered_until_struck_by_who_knows_since_when(store):
    references = store.references
    assert await references.since(NAME, PICTURE) is None
    await references.need(NAME, PICTURE)
    since = await references.since(NAME, PICTURE)
    assert abs(float(since) / 1000 - time.time()) < 5
    await references.need(NAME, "b" * 32)
    assert set(await references.all(NAME)) == {PICTURE, "b" * 32}
    assert await references.strike(NAME, PICTURE, "1") == -1
    assert await references.strike(NAME, PICTURE, since) == 1
    assert await references.strike(NAME, PICTURE, since) == -1
    assert await references.strike(NAME, "b" * 32, await references.since(NAME, "b" * 32)) == 0
    assert await references.all(NAME) == {}


async def test_one_at_a_time_has_the_lock(store):
    inside, most = 0, 0

    async def work():
        nonlocal inside, most
        async with store.references.lock(NAME, 10, 10):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.01)
            inside -= 1

    await asyncio.gather(*(work() for _ in range(8)))
    assert most == 1


async def test_who_died_with_the_lock_is_waited_for_no_longer_than_it_lasts(store):
    died = store.references.lock(NAME, 0.5, 1)
    await died.__aenter__()
    with pytest.raises(StoreUnavailable):
        async with store.references.lock(NAME, 1, 0.1):
            pass
    start = time.monotonic()
    async with store.references.lock(NAME, 1, 2):
        assert time.monotonic() - start > 0.2
        await died.__aexit__(None, None, None)  # comes back to life, and frees nothing that is another's
        with pytest.raises(StoreUnavailable):
            async with store.references.lock(NAME, 1, 0.1):
                pass


async def cancelled(moment, work):
    """Begin some work, cancel it at a moment, and wait until it has ended."""
    working = asyncio.create_task(work())
    await moment.wait()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working


async def test_who_is_cancelled_while_it_takes_the_lock_does_not_keep_it(store, monkeypatch):
    """As a client that leaves: the server has answered, and nobody has heard it."""
    errands, taken = store.references._errands, asyncio.Event()
    change = errands.change

    async def unheard(key, ask):
        await change(key, ask)
        monkeypatch.setattr(errands, "change", change)
        taken.set()
        await asyncio.sleep(60)

    async def work():
        async with store.references.lock(NAME, 60, 10):
            raise AssertionError("it was cancelled before")

    monkeypatch.setattr(errands, "change", unheard)
    await cancelled(taken, work)
    async with store.references.lock(NAME, 1, 0.5):
        pass


async def test_who_is_cancelled_while_it_gives_the_lock_back_does_not_keep_it(store, monkeypatch):
    """As a client that leaves while all connections are in use."""
    errands, asked = store.references._errands, asyncio.Event()
    change = errands.change

    async def late(key, ask):
        asked.set()
        await asyncio.sleep(0.2)
        return await change(key, ask)

    async def work():
        async with store.references.lock(NAME, 60, 10):
            monkeypatch.setattr(errands, "change", late)

    await cancelled(asked, work)
    async with store.references.lock(NAME, 1, 2):
        pass
