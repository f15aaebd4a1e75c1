"""The check of everything stored: once, and again and again in the background."""

import asyncio

from service.metrics import Metrics
from service.settings import Settings
from service.storage import fsck
from service.storage.listing import shard
from service.storage.store import Store
from tests.service.storage.samples import PLANES, STREAM, of_version, record


async def test_the_background_check_outlasts_the_store(valkey, caplog):
    store = Store(valkey.url, Settings(store_timeout=0.2), Metrics())
    caplog.set_level("INFO", "compass")
    await store.put(record(), STREAM, ())
    await valkey.stop()
    checking = asyncio.create_task(fsck.watch(store, 0.2 / 3600, lambda: None))
    while "broken off" not in caplog.text:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    await valkey.start()
    while "checked 1 pictures, 0 damaged" not in caplog.text:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    checking.cancel()
    await store.close()


async def test_the_store_is_checked_in_the_background(store, raw, caplog):
    caplog.set_level("INFO", "compass")
    for number in range(3):
        await store.put(record(number, alpha=(7, 8)), STREAM, PLANES)
    await raw.setrange(f"{{{record(1).id}}}:stream", 5000, b"!")
    found: list[bool] = []
    checking = asyncio.create_task(fsck.watch(store, 1, lambda: found.append(True)))
    while "checked" not in caplog.text:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    checking.cancel()
    assert "checked 3 pictures, 1 damaged" in caplog.text
    assert found == [True]
    assert f"picture {record(1).id} is damaged" in caplog.text


async def test_fsck(store, raw, capsys):
    for number in range(3):
        await store.put(record(number, alpha=(7, 8)), STREAM, PLANES)
    assert await fsck.check(store, delete=False) == 0
    await raw.zrem(shard(record(0).id), record(0).index_entry)
    await raw.setrange(f"{{{record(1).id}}}:stream", 5000, b"!")
    await raw.append(f"{{{record(2).id}}}:stream", b"more")
    assert await fsck.check(store, delete=True) == fsck.EXIT_DAMAGED
    out = capsys.readouterr().out
    assert record(1).id in out
    assert record(2).id in out
    assert "3 pictures, 2 damaged, 1 were missing from the listing" in out
    assert await fsck.check(store, delete=False) == 0
    assert [r.id for r in (await store.catalogue.page(None, 9))[0]] == [record(0).id]


async def test_the_background_check_survives_what_nobody_foresaw(store, monkeypatch, caplog):
    caplog.set_level("INFO", "compass")
    await store.put(record(0), STREAM, ())
    await store.put(record(1), STREAM, ())
    verify = store.verify

    async def surprising(picture):
        if picture == record(0).id:
            raise ZeroDivisionError
        return await verify(picture)

    monkeypatch.setattr(store, "verify", surprising)
    checking = asyncio.create_task(fsck.watch(store, 0.2 / 3600, lambda: None))
    while caplog.text.count("checked 2 pictures, 1 damaged") < 2:
        assert not checking.done()
        await asyncio.sleep(0.02)
    checking.cancel()


async def test_other_versions_do_not_end_the_check(store, raw, caplog):
    caplog.set_level("INFO", "compass")
    for number in range(3):
        await store.put(record(number), STREAM, ())
    await raw.set(f"{{{record(1).id}}}:stream", of_version(2))
    checking = asyncio.create_task(fsck.watch(store, 1, lambda: None))
    while "another version" not in caplog.text:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    checking.cancel()
    assert "checked 3 pictures, 0 damaged" in caplog.text
    assert "1 pictures are stored in another version of the format" in caplog.text
