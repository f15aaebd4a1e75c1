"""Originals in a bucket: there before anybody is told so, gone with their last picture, never wrong."""

import asyncio
import time
from dataclasses import replace
from hashlib import sha256

import pytest

from service.errors import DamagedStream, NotFound, ObjectsUnavailable, StoreFull
from service.storage import fsck
from service.storage import originals as module
from tests.service.storage.samples import STREAM, record

DATA = b"an upload " * 500
DIGEST = sha256(DATA).hexdigest()
KEY = f"originals/{DIGEST}"


def with_original(number: int, digest: str = DIGEST, size: int = len(DATA)):
    return record(number, original=digest, source_bytes=size)


async def stored(store, originals, number, data=DATA):
    kept = with_original(number, sha256(data).hexdigest(), len(data))
    await originals.keep(kept.id, kept.facts.original, data)
    await store.put(kept, STREAM, ())
    await originals.keep(kept.id, kept.facts.original, data)
    return kept.id


async def deleted(store, originals, picture, digest=DIGEST):
    held = await originals.held(picture, digest)
    await store.delete(picture)
    return await originals.release(picture, digest, held)


async def settled(originals, monkeypatch):
    monkeypatch.setattr(module, "SETTLED_SECONDS", -1.0)
    return await originals.collect()


async def test_pictures_share_an_original_which_goes_with_the_last(store, originals, buckets, address):
    first, second = await stored(store, originals, 0), await stored(store, originals, 1)
    assert buckets.keys(address) == [KEY]
    assert [method for method, _ in buckets.asked].count("PUT") == 1
    assert await originals.read(DIGEST) == DATA
    assert not await deleted(store, originals, first)
    assert await originals.read(DIGEST) == DATA
    assert await deleted(store, originals, second)
    assert buckets.keys(address) == []
    with pytest.raises(NotFound):
        await originals.read(DIGEST)


async def test_a_damaged_original_is_put_right_by_the_next_upload(store, originals, buckets, address):
    picture = await stored(store, originals, 0)
    buckets.change(address, KEY, DATA[:-1] + b"!")
    with pytest.raises(DamagedStream):
        await originals.read(DIGEST)
    await originals.keep(picture, DIGEST, DATA)
    assert await originals.read(DIGEST) == DATA


async def test_a_full_store_keeps_and_gives_back_originals(store, originals, buckets, address, raw):
    """A known upload is answered as before, and what no picture needs goes."""
    kept, gone = await stored(store, originals, 0), await stored(store, originals, 1, b"another")
    await store.delete(gone)
    await raw.config_set("maxmemory", (await store.memory())[0] - 1000)
    with pytest.raises(StoreFull):
        await store.put(record(7), STREAM, ())
    await originals.keep(kept, DIGEST, DATA)
    module.SETTLED_SECONDS, before = -1.0, module.SETTLED_SECONDS
    try:
        found = await originals.collect()
    finally:
        module.SETTLED_SECONDS = before
    assert (found.originals, found.deleted) == (2, 1)
    assert buckets.keys(address) == [KEY]


async def test_a_clock_that_is_ahead_takes_no_originals_of_pictures_that_live(store, originals, monkeypatch):
    expires = time.time() + 3 * 86400
    kept = replace(with_original(0), facts=replace(with_original(0).facts, expires=expires))
    async with originals.kept(kept.id, DIGEST, DATA):
        await store.put(kept, STREAM, ())
    with monkeypatch.context() as ahead:
        ahead.setattr(time, "time", lambda: expires + 86400)
        assert (await originals.collect()).deleted == 0
    assert await originals.read(DIGEST) == DATA


async def test_a_deletion_and_an_upload_at_once_lose_nothing(store, originals):
    """Whatever the order of their steps, a picture that is acknowledged has its original."""
    for trial in range(25):
        first = await stored(store, originals, 0)

        async def late(coro, delay):
            await asyncio.sleep(delay)
            return await coro

        again = trial % 2  # the same picture, or another of the same upload
        await asyncio.gather(
            late(deleted(store, originals, first), 0.0004 * (trial % 5)),
            late(stored(store, originals, 0 if again else 1), 0.002 * (trial // 5)),
            return_exceptions=True,
        )
        for number in (0, 1):
            try:
                await store.record(record(number).id, fresh=True)
            except NotFound:
                continue
            assert await originals.read(DIGEST) == DATA


async def test_who_was_stored_again_meanwhile_keeps_its_original(store, originals):
    picture = await stored(store, originals, 0)
    held = await originals.held(picture, DIGEST)
    await store.delete(picture)
    await asyncio.sleep(0.002)
    await stored(store, originals, 0)
    assert not await originals.release(picture, DIGEST, held)
    assert await originals.read(DIGEST) == DATA


async def test_what_expired_is_collected(store, raw, originals, buckets, address, monkeypatch):
    living = await stored(store, originals, 1, b"another")
    picture = await stored(store, originals, 0)
    await store.extend(replace(record(1)), None)
    await raw.pexpire(f"{{{picture}}}:facts", 1)
    await raw.pexpire(f"{{{picture}}}:stream", 1)
    await asyncio.sleep(0.01)
    assert (await originals.collect()).deleted == 0  # it may belong to an upload under way
    found = await settled(originals, monkeypatch)
    assert (found.originals, found.deleted, found.strange) == (2, 1, ())
    assert buckets.keys(address) == [f"originals/{sha256(b'another').hexdigest()}"]
    assert await store.record(living)


async def test_a_new_store_on_an_old_bucket_deletes_nothing(
    store, raw, originals, buckets, address, monkeypatch, capsys
):
    await stored(store, originals, 0)
    await raw.flushall()
    assert (await settled(originals, monkeypatch)).strange == (KEY,)
    assert await fsck.check(store, delete=False, kept=originals) == 0
    assert (
        f"1 originals belong to no picture that this store knows of, such as {KEY}" in capsys.readouterr().out
    )
    assert buckets.keys(address) == [KEY]
    assert await fsck.check(store, delete=True, kept=originals) == 0
    assert buckets.keys(address) == []


async def test_a_reference_that_was_lost_is_put_back(store, raw, originals, monkeypatch):
    picture = await stored(store, originals, 0)
    await raw.delete(f"compass:original:{{{DIGEST}}}")
    monkeypatch.setattr(module, "SETTLED_SECONDS", -1.0)
    assert await fsck.check(store, delete=True, kept=originals) == 0
    assert await originals.read(DIGEST) == DATA
    assert await originals.held(picture, DIGEST)


@pytest.mark.parametrize("fault", ["wrong", "cut", "error", "away"])
async def test_no_fault_of_the_bucket_gives_wrong_bytes(store, originals, buckets, fault):
    await stored(store, originals, 0)
    with buckets.being(fault), pytest.raises((DamagedStream, ObjectsUnavailable)):
        await originals.read(DIGEST)
    assert await originals.read(DIGEST) == DATA


@pytest.mark.parametrize("fault", ["error", "away"])
async def test_nothing_is_kept_that_is_not_there(store, originals, buckets, fault):
    with buckets.being(fault), pytest.raises(ObjectsUnavailable):
        await originals.keep("a" * 32, DIGEST, DATA)
    await originals.keep("a" * 32, DIGEST, DATA)  # nobody holds the lock any more
    assert await originals.read(DIGEST) == DATA


async def test_half_an_original_is_written_anew(originals, buckets, address):
    buckets.change(address, KEY, DATA[:100])
    await originals.keep("a" * 32, DIGEST, DATA)
    assert await originals.read(DIGEST) == DATA


async def test_what_could_not_be_deleted_is_deleted_later(store, originals, buckets, address, monkeypatch):
    picture = await stored(store, originals, 0)
    held = await originals.held(picture, DIGEST)
    await store.delete(picture)
    with buckets.being("away"), pytest.raises(ObjectsUnavailable):
        await originals.release(picture, DIGEST, held)
    assert buckets.keys(address) == [KEY]
    assert (await settled(originals, monkeypatch)).deleted == 1
    assert buckets.keys(address) == []
    assert await store.references.all(DIGEST) == {}
