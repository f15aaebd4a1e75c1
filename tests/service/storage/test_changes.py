"""The stream of changes on a real Valkey: every reader hears of all of them, or that it missed some."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis.asyncio as redis

from service.errors import NotFound, StoreUnavailable
from service.storage import changes
from service.storage.store import Store
from service.storage.valkey import EmbeddedValkey
from tests.service.conftest import store_of
from tests.service.engine.test_pool import until
from tests.service.storage.samples import STREAM, record

A, B = "a" * 32, "b" * 32


@pytest.fixture
async def other(valkey: EmbeddedValkey) -> AsyncIterator[Store]:
    """What another service has of the store."""
    async with store_of(valkey) as opened:
        yield opened


class Ear:
    """Follows the stream, and remembers what it heard: pictures in order, None where some were missed."""

    def __init__(self, store: Store) -> None:
        self.heard: list[str | None] = []
        self.begun = asyncio.Event()
        """What is told from then on is heard."""
        newest = store.changes._newest

        async def begin() -> bytes:
            found = await newest()
            self.begun.set()
            return found

        store.changes._newest = begin  # type: ignore[method-assign]
        self.task = asyncio.create_task(self._listen(store))

    async def _listen(self, store: Store) -> None:
        async for pictures in store.changes.follow():
            self.heard += [None] if pictures is None else sorted(pictures)

    async def until(self, *expected: str | None) -> None:
        """Wait until exactly that has been heard; in no more time than a deletion may take."""
        async with asyncio.timeout(3):
            await until(lambda: len(self.heard) >= len(expected))
        assert self.heard == list(expected)


@pytest.fixture
async def ear(other: Store) -> AsyncIterator[Ear]:
    found = Ear(other)
    await found.begun.wait()
    yield found
    found.task.cancel()


async def test_a_deletion_is_heard_by_others(store: Store, ear: Ear) -> None:
    await store.put(record(), STREAM, ())
    await store.delete(record().id)
    await ear.until(record().id)


async def test_what_was_told_before_is_nobody_elses_business(store: Store, other: Store) -> None:
    await store.changes.tell(A)
    ear = Ear(other)
    await ear.begun.wait()
    await store.changes.tell(B)
    await ear.until(B)
    ear.task.cancel()


async def test_a_new_picture_is_no_change_but_one_stored_over_another_is(store: Store, ear: Ear) -> None:
    for number in (0, 1, 1):
        await store.put(record(number), STREAM, ())
    await ear.until(record(1).id)


async def test_deleting_again_tells_again(store: Store, ear: Ear) -> None:
    with pytest.raises(NotFound):
        await store.delete(record().id)
    await ear.until(record().id)


async def test_no_picture_is_missed_among_many(ear: Ear, raw: redis.Redis) -> None:
    names = [f"{number:032}" for number in range(2 * changes.BATCH + 7)]
    async with raw.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.xadd(changes.KEY, {"picture": name})
        await pipe.execute()
    await until(lambda: len(ear.heard) >= len(names))
    assert sorted(map(str, ear.heard)) == names


async def test_who_missed_some_is_told_so(store: Store, ear: Ear, raw: redis.Redis) -> None:
    await store.changes.tell(A)
    await ear.until(A)
    await store.changes.tell(B)
    await raw.xtrim(changes.KEY, maxlen=0)  # as if very many had come since
    await ear.until(A, None)
    await store.changes.tell(A)
    await ear.until(A, None, A)


async def test_the_stream_stays_bounded(
    store: Store, raw: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "LENGTH", 100)
    for number in range(500):
        await store.changes.tell(f"{number:032}")
    assert await raw.xlen(changes.KEY) <= 300  # whole nodes of a hundred are cut off


async def test_it_goes_on_where_it_was_when_the_store_is_back(
    store: Store, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.changes.tell(A)
    await ear.until(A)

    async def away(*_: object) -> None:
        raise StoreUnavailable("away")

    with monkeypatch.context() as broken:
        broken.setattr(changes.Changes, "_since", away)
        await asyncio.sleep(2 * changes.LOOK_SECONDS)
        await store.changes.tell(B)
    await ear.until(A, B)


async def test_what_is_remembered_of_a_picture_can_be_forgotten(store: Store, other: Store) -> None:
    await store.put(record(), STREAM, ())
    await other.record(record().id)
    await store.delete(record().id)
    await other.record(record().id)  # believed for seconds
    other.forget({record().id})
    with pytest.raises(NotFound):
        await other.record(record().id)


async def test_what_somebody_put_in_the_place_of_the_stream_disturbs_nobody(
    store: Store, ear: Ear, raw: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    await store.put(record(), STREAM, ())
    await raw.delete(changes.KEY)
    await raw.set(changes.KEY, "not ours")
    await store.put(record(), STREAM, ())
    await store.delete(record().id)
    assert "cannot be told" in caplog.text
    with pytest.raises(NotFound):
        await store.record(record().id, fresh=True)
    assert (await store.catalogue.page(None, 9))[0] == []
    await asyncio.sleep(2 * changes.LOOK_SECONDS)
    await raw.delete(changes.KEY)
    await store.put(record(1), STREAM, ())
    await store.put(record(1), STREAM, ())
    await ear.until(record(1).id)
    await store.delete(record(1).id)
    await ear.until(record(1).id, record(1).id)
