"""The queue of pictures that wait to be refined, on a real Valkey."""

import asyncio
from dataclasses import replace
from itertools import chain
from zlib import crc32

import pytest

from model.stream.container import CodedLayer, read_header, write
from service.errors import DamagedStream, NotFound, Replaced, StoreFull
from service.metrics import Metrics
from service.settings import Settings
from service.storage import fsck, waiting
from service.storage.disk import Disk
from service.storage.records import Facts, Record, Refinement, original_key
from service.storage.store import Store
from service.storage.waiting import MOST_TRIES


def coded(tile: bytes) -> bytes:
    """A stream of two layers."""
    layers = [CodedLayer(64, 48, 75, b"hyper", [b"a" * 100]), CodedLayer(128, 96, 75, b"hyper", [tile])]
    return write(b"model-id", 256, layers)


STREAM, SMALLER, OTHER = coded(b"b" * 400), coded(b"c" * 300), coded(b"d" * 350)
PLANES = (b"plane 0", b"plane 01")
UPLOAD = b"the upload's own bytes" * 10
FACTS = Facts(1000.5, source_bytes=len(UPLOAD), source_format="PNG", quality=75, alpha=(7, 8))
NAMES = ["a" * 32, "b" * 32, "c" * 32]


async def put(store, number=0, original=UPLOAD, **facts):
    record = Record(NAMES[number], read_header(STREAM), replace(FACTS, **facts))
    return await store.put(record, STREAM, PLANES, original)


async def taken_one(store, picture=""):
    taken, given_up = await store.waiting.take(picture)
    assert taken is not None
    assert given_up == 0
    return taken


async def test_a_picture_waits_with_its_upload_until_it_is_finished(store, raw):
    assert await store.waiting.take() == (None, 0)
    await put(store)
    assert await store.waiting.counts() == (1, len(UPLOAD))
    assert await store.waiting.pictures() == [NAMES[0]]
    assert [await store.waiting.waits(name) for name in NAMES[:2]] == [True, False]
    taken = await taken_one(store)
    assert (taken.picture, taken.tries) == (NAMES[0], 1)
    assert await store.waiting.original(taken) == UPLOAD
    await store.waiting.finish(taken)
    assert await store.waiting.counts() == (0, 0)
    assert not await raw.exists(original_key(NAMES[0]))
    assert await store.verify(NAMES[0])


async def test_without_refining_no_upload_is_kept(store, raw):
    await put(store, original=None)
    assert await store.waiting.counts() == (0, 0)
    assert not await raw.keys("*original*")
    assert not await raw.keys("compass:refine*")


async def test_those_that_wait_longest_come_first(store):
    for number in (2, 0, 1):
        await put(store, number)
        await asyncio.sleep(0.005)
    assert [(await taken_one(store)).picture for _ in range(3)] == [NAMES[2], NAMES[0], NAMES[1]]
    assert await store.waiting.take() == (None, 0)


async def test_a_picture_is_one_services_at_a_time(valkey, store, monkeypatch):
    """Until the lease ends, by the server's clock; then it is another's, and the first notices."""
    monkeypatch.setattr(waiting, "LEASE_SECONDS", 0.4)
    other = Store(valkey.url, Settings(), Metrics())
    await put(store)
    first = await taken_one(store)
    for picture in ("", NAMES[0]):
        assert await other.waiting.take(picture) == (None, 0)
    for _ in range(4):
        await asyncio.sleep(0.2)
        assert await store.waiting.renew(first)
        assert await other.waiting.take() == (None, 0)
    await asyncio.sleep(0.5)
    second = await taken_one(other)
    assert second.tries == 2
    assert not await store.waiting.renew(first)
    await store.waiting.finish(first)
    await store.waiting.give_back(first)
    with pytest.raises(NotFound):
        await store.waiting.original(first)
    record = await store.record(NAMES[0])
    assert await store.replace(first, record, SMALLER, "fast") is None
    assert await other.waiting.original(second) == UPLOAD
    assert await store.prefix(record, 1) == STREAM
    assert await other.replace(second, record, SMALLER, "fast") is not None
    await other.close()


async def test_many_takers_never_get_one_picture_twice(valkey, store):
    pictures = [f"{letter}{digit}" * 16 for letter in "abcdefgh" for digit in "234567"]
    for picture in pictures:
        await store.put(Record(picture, read_header(STREAM), FACTS), STREAM, PLANES, UPLOAD)
    stores = [Store(valkey.url, Settings(), Metrics()) for _ in range(3)]

    async def take_all(one):
        found = []
        while (taken := (await one.waiting.take())[0]) is not None:
            found.append(taken.picture)
        return found

    found = await asyncio.gather(*(take_all(one) for one in stores for _ in range(3)))
    assert sorted(chain.from_iterable(found)) == sorted(pictures)
    for one in stores:
        await one.close()


async def test_a_picture_is_tried_so_often_and_no_more(store, raw):
    await put(store)
    for tries in range(1, MOST_TRIES + 1):
        taken = await taken_one(store)
        assert (taken.tries, taken.last) == (tries, tries == MOST_TRIES)
        await store.waiting.give_back(taken)
    assert await store.waiting.take() == (None, 1)
    assert await store.waiting.take() == (None, 0)
    assert await store.waiting.counts() == (0, 0)
    assert not await raw.exists(original_key(NAMES[0]))


async def test_what_is_given_back_untried_does_not_count(store):
    await put(store)
    for _ in range(3 * MOST_TRIES):
        taken = await taken_one(store)
        assert taken.tries == 1
        await store.waiting.give_back(taken, untried=True)
    taken = await taken_one(store)
    await store.waiting.give_back(taken, pause=60)
    assert await store.waiting.take() == (None, 0)
    assert (await store.waiting.counts())[0] == 1


async def test_a_smaller_stream_takes_the_place_of_the_first(store, raw):
    kept = await put(store, expires=None)
    before = await store.catalogue.page(None, 10)
    taken = await taken_one(store)
    new = await store.replace(taken, kept, SMALLER, "best")
    assert new == await store.record(kept.id) == await store.verify(kept.id)
    assert new.facts == replace(kept.facts, refined=Refinement("best", kept.bytes))
    assert new.bytes == kept.bytes - 100
    assert await store.prefix(new, 1) == SMALLER
    assert [await store.alpha(new, k) for k in (0, 1)] == list(PLANES)
    assert [record.id for record in before[0]] == [
        record.id for record in (await store.catalogue.page(None, 10))[0]
    ]
    assert await store.waiting.counts() == (0, 0)
    assert not await raw.exists(original_key(kept.id))
    with pytest.raises(Replaced):
        await store.prefix(kept, 1)


async def test_what_was_stored_first_is_remembered(store):
    kept = await put(store)
    once = await store.replace(await taken_one(store), kept, OTHER, "fast")
    assert await store.offer(once, UPLOAD)
    twice = await store.replace(await taken_one(store), once, SMALLER, "best")
    assert twice.facts.refined == Refinement("best", kept.bytes)


async def test_that_nothing_was_found_is_noted_too(store):
    kept = await put(store)
    noted = await store.replace(await taken_one(store), kept, None, "fast")
    assert noted == replace(kept, facts=replace(kept.facts, refined=Refinement("fast", kept.bytes)))
    assert await store.prefix(kept, 1) == STREAM
    assert await store.waiting.counts() == (0, 0)


@pytest.mark.parametrize("life", [None, 1000.0])
async def test_its_life_stays(store, raw, life):
    """Also where it was prolonged while the search went on."""
    now = float((await raw.time())[0])
    kept = await put(store, expires=now + 500)
    taken = await taken_one(store)
    assert 490_000 < await raw.pttl(original_key(kept.id)) <= 500_000
    expires = None if life is None else now + life
    extended = await store.extend(kept, expires)
    keys = [f"{{{kept.id}}}:{name}" for name in ("stream", "facts", "alpha:0", "alpha:1", "original")]
    lives = [await raw.pttl(key) for key in keys]
    assert all(left == -1 if life is None else 990_000 < left <= 1_000_000 for left in lives)
    new = await store.replace(taken, kept, SMALLER, "fast")
    assert new.facts.expires == extended.facts.expires == expires
    for key, left in zip(keys[:-1], lives, strict=False):
        assert left - 5000 < await raw.pttl(key) <= left


async def test_a_picture_that_ends_takes_its_upload_with_it(store, raw):
    now = float((await raw.time())[0]) + (await raw.time())[1] / 1e6
    kept = await put(store, expires=now + 0.4)
    taken = await taken_one(store)
    await asyncio.sleep(0.6)
    assert not await raw.exists(original_key(kept.id))
    assert await store.replace(taken, kept, SMALLER, "fast") is None
    assert not await raw.exists(f"{{{kept.id}}}:stream", f"{{{kept.id}}}:facts")
    assert not await store.waiting.renew(taken)
    await raw.zadd("compass:refine", {kept.id: 0})
    assert await store.waiting.take() == (None, 0)
    assert await store.waiting.counts() == (0, 0)


async def test_a_deleted_picture_is_not_written(store, raw):
    kept = await put(store)
    taken = await taken_one(store)
    await store.delete(kept.id)
    assert not await raw.keys("{*")
    assert await store.waiting.counts() == (0, 0)
    assert await store.replace(taken, kept, SMALLER, "fast") is None
    assert not await raw.keys("{*")


async def test_one_that_was_stored_anew_meanwhile_is_not_written(store):
    """Uploaded again after a deletion: another lease, though the same stream; or repaired: another stream."""
    kept = await put(store)
    taken = await taken_one(store)
    await store.delete(kept.id)
    await put(store)
    assert await store.replace(taken, kept, SMALLER, "fast") is None
    again = await taken_one(store)
    await store.put(Record(kept.id, read_header(OTHER), FACTS), OTHER, PLANES)
    assert await store.replace(again, kept, SMALLER, "fast") is None
    assert await store.prefix(await store.record(kept.id), 1) == OTHER


async def test_uploads_have_a_budget(valkey, raw):
    metrics = Metrics()
    store = Store(valkey.url, Settings(refine_bytes=2 * len(UPLOAD)), metrics)
    for number in range(3):
        await put(store, number)
    assert await store.waiting.counts() == (2, 2 * len(UPLOAD))
    assert metrics.registry.get_sample_value("compass_refinements_total", {"outcome": "unqueued"}) == 1
    assert await store.verify(NAMES[2])
    await put(store, 0)  # once more: it is counted once
    assert await store.waiting.counts() == (2, 2 * len(UPLOAD))
    await store.delete(NAMES[0])
    await put(store, 2)
    assert await store.waiting.counts() == (2, 2 * len(UPLOAD))
    assert await store.offer(await store.record(NAMES[1]), 3 * UPLOAD)  # by hand there is none
    await store.close()


async def test_no_upload_is_kept_where_the_store_is_nearly_full(store, raw):
    """Also where already its way there would take more memory than is left: the picture itself is stored."""
    await put(store, original=None)
    used = (await store.memory())[0]
    await raw.config_set("maxmemory", 2 * used)
    for number, size in ((1, used // 2), (2, 2 * used)):
        await put(store, number, original=b"x" * size)
        assert await store.waiting.counts() == (0, 0)
        assert await store.verify(NAMES[number])
    await put(store, 2)
    assert (await store.waiting.counts())[0] == 1


async def test_a_full_store_still_lets_go(store, raw):
    for number in range(3):
        await put(store, number)
    await raw.config_set("maxmemory", 1)
    taken = await taken_one(store)
    assert await store.waiting.renew(taken)
    with pytest.raises(StoreFull):
        await store.replace(taken, await store.record(taken.picture), SMALLER, "fast")
    await store.waiting.give_back(taken)
    await store.delete(NAMES[0])
    await store.waiting.finish(await taken_one(store))
    assert (await store.waiting.counts())[0] == 1
    assert await store.waiting.mend() == 0


async def test_no_upload_is_kept_where_the_disk_is_nearly_full(valkey, tmp_path, monkeypatch):
    metrics, disk = Metrics(), Disk(tmp_path, 0)
    monkeypatch.setattr(Disk, "free", property(lambda _: len(STREAM) + 100_000))
    store = Store(valkey.url, Settings(), metrics, disk)
    await put(store, original=b"x" * 100_000)
    assert await store.waiting.counts() == (0, 0)
    assert metrics.registry.get_sample_value("compass_refinements_total", {"outcome": "unqueued"}) == 1
    await put(store)
    assert (await store.waiting.counts())[0] == 1
    await store.close()


async def test_a_damaged_upload_is_no_upload(store, raw):
    """What is refined from it would be another picture."""
    await put(store)
    taken = await taken_one(store)
    await raw.hset(original_key(NAMES[0]), "data", UPLOAD[:-1] + b"!")
    with pytest.raises(DamagedStream):
        await store.waiting.original(taken)


async def test_checks_mend_the_queue(store, raw, capsys):
    for number in range(3):
        await put(store, number)
    await raw.zrem("compass:refine", NAMES[0])  # an upload that nobody would take
    await raw.hdel("compass:bytes:{compass:refine}", NAMES[0], "total")
    await raw.delete(original_key(NAMES[1]))  # a picture without an upload
    await raw.hset(original_key("d" * 32), mapping={"data": b"x", "crc": crc32(b"x"), "tries": 0})
    assert await fsck.check(store, delete=False) == 0
    assert "1 kept uploads were missing" in capsys.readouterr().out
    assert sorted(await store.waiting.pictures()) == [NAMES[0], NAMES[2]]
    assert await store.waiting.counts() == (2, 2 * len(UPLOAD))
    assert not await raw.exists(original_key("d" * 32))
    assert await store.waiting.mend() == 0


async def test_what_waited_in_an_earlier_version_goes_on_waiting(store, raw):
    """It kept the sizes of uploads under another key."""
    for number in range(2):
        await put(store, number)
    await raw.delete(waiting.SIZES)
    await raw.hset("compass:refine:bytes", mapping={**dict.fromkeys(NAMES[:2], len(UPLOAD)), "total": 9})
    assert (await store.waiting.counts())[0] == 2
    taken = await taken_one(store)
    assert await store.waiting.original(taken) == UPLOAD
    assert await store.waiting.mend() == 0
    assert await store.waiting.counts() == (2, 2 * len(UPLOAD))
    assert not await raw.exists("compass:refine:bytes")
    await store.waiting.finish(taken)
    assert await store.waiting.counts() == (1, len(UPLOAD))
