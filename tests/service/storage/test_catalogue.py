"""Which pictures there are, on a real Valkey."""

import asyncio
import time

import pytest

from service.errors import StoreFull
from service.metrics import Metrics
from service.settings import Settings
from service.storage import fsck
from service.storage.listing import KEYS, OLD, shard
from service.storage.store import Store
from tests.service.storage.listed import listed, pictures_keys
from tests.service.storage.samples import STREAM, record


async def test_pages_are_newest_first_and_stable(store):
    records = [record(k, created=1000.0 + k // 2) for k in range(5)]  # some at the same instant
    for kept in records[:4]:
        await store.put(kept, STREAM, ())
    first, cursor = await store.catalogue.page(None, 2)
    await store.put(records[4], STREAM, ())  # newer than all: must not shift the pages
    second, end = await store.catalogue.page(cursor, 2)
    assert [r.id for r in first + second] == [r.id for r in reversed(records[:4])]
    assert (await store.catalogue.page(end, 2)) == ([], None)
    assert (await store.catalogue.page(None, 1))[0] == [records[4]]


async def expired_and_stored_again(store, raw):
    """One picture with entries of two lives in the listing, one that is gone, one that lives."""
    for number, created in ((0, 1000.0), (1, 1001.0)):
        await store.put(record(number, created=created, expires=time.time() + 0.2), STREAM, ())
    await asyncio.sleep(0.3)
    await store.put(record(0, created=2000.0), STREAM, ())
    await store.put(record(2, created=1500.0), STREAM, ())
    assert len(await listed(raw)) == 4


async def test_a_picture_of_two_lives_is_listed_once(valkey, store, raw):
    await expired_and_stored_again(store, raw)
    pages, cursor = await store.catalogue.page(None, 1)
    while cursor:
        page, cursor = await store.catalogue.page(cursor, 1)
        pages += page
    assert [(kept.id, kept.facts.created) for kept in pages] == [(record(0).id, 2000), (record(2).id, 1500)]
    assert len(await listed(raw)) == 2
    other = Store(valkey.url, Settings(), Metrics())  # deletes and stores what this one remembers
    await other.delete(record(0).id)
    await other.put(record(0, created=3000.0), STREAM, ())
    assert [kept.facts.created for kept in (await store.catalogue.page(None, 9))[0]] == [3000, 1500]
    assert len(await listed(raw)) == 2
    await other.close()


async def test_checks_remove_from_the_listing_what_is_gone(valkey, store, raw, caplog, capsys):
    caplog.set_level("INFO", "compass")
    await expired_and_stored_again(store, raw)
    await raw.zadd(KEYS[0], {"nonsense": 0})
    await raw.setrange(f"{{{record(2).id}}}:stream", 5000, b"!")
    assert await fsck.check(store, delete=False) == fsck.EXIT_DAMAGED
    out = capsys.readouterr().out
    assert "2 pictures, 1 damaged, 0 were missing from the listing, 3 entries of it removed" in out
    assert len(await listed(raw)) == 2
    await raw.delete(*await raw.keys("*:stream"), *await raw.keys("*:facts"))
    other = Store(valkey.url, Settings(), Metrics())
    checking = asyncio.create_task(fsck.watch(other, 1, lambda: None))
    while "checked 0 pictures" not in caplog.text:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    checking.cancel()
    assert not await pictures_keys(raw)
    await other.close()


async def fill(store, raw):
    """Let the server refuse whatever needs more memory, as one that is full does."""
    await raw.config_set("maxmemory", (await store.memory())[0] - 1000)
    with pytest.raises(StoreFull):
        await store.put(record(7), STREAM, ())


async def test_a_full_store_is_checked_and_known_pictures_are_known(store, raw, caplog, capsys):
    caplog.set_level("INFO", "compass")
    for number in range(3):
        await store.put(record(number), STREAM, ())
    await raw.zrem(shard(record(1).id), record(1).index_entry)
    await raw.setrange(f"{{{record(2).id}}}:stream", 5000, b"!")
    await fill(store, raw)
    assert not await store.reindex(record(0))
    assert not await store.reindex(record(1))  # no room for it
    assert await fsck.check(store, delete=False) == fsck.EXIT_DAMAGED
    assert "3 pictures, 1 damaged, 0 were missing from the listing" in capsys.readouterr().out
    checking = asyncio.create_task(fsck.watch(store, 0.5 / 3600, lambda: None))
    while caplog.text.count("checked 3 pictures, 1 damaged") < 2:
        assert not checking.done()
        await asyncio.sleep(0.02)
    checking.cancel()
    assert await fsck.check(store, delete=True) == fsck.EXIT_DAMAGED
    await raw.config_set("maxmemory", 0)
    assert await store.reindex(record(1))


async def test_keys_that_are_not_ours_disturb_nobody(store, raw, capsys):
    """Of another type, or named so that they cannot be read."""
    for number in range(3):
        await store.put(record(number, created=1000.5 + number), STREAM, ())
    store._records.clear()
    await raw.delete(f"{{{record(1).id}}}:facts", f"{{{record(2).id}}}:stream")
    await raw.rpush(f"{{{record(1).id}}}:facts", "a list")
    await raw.rpush(f"{{{record(2).id}}}:stream", "a list")
    await raw.set(b"{\xff\xfe}:stream", b"x")
    await raw.zadd(OLD, {b"\xff\xfe": 0, b"99999999999999:\xff": 0})
    assert [kept.id for kept in (await store.catalogue.page(None, 9))[0]] == [record(0).id]
    assert await fsck.check(store, delete=True) == fsck.EXIT_DAMAGED
    assert "3 pictures, 2 damaged" in capsys.readouterr().out
    assert await fsck.check(store, delete=False) == 0
    assert await raw.get(b"{\xff\xfe}:stream") == b"x"


async def test_a_listing_asks_once_for_all(store, raw):
    for number in range(8):
        await store.put(record(number, created=1000.5 + number), STREAM, ())
    store._records.clear()
    before = (await raw.info("stats"))["total_reads_processed"]
    assert len((await store.catalogue.page(None, 500))[0]) == 8
    assert (await raw.info("stats"))["total_reads_processed"] - before <= 4
