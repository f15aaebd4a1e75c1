"""The store on a real Valkey: written whole, read by prefix, checked on every read."""

import asyncio
import json
import time
from contextlib import suppress
from dataclasses import replace
from zlib import crc32

import psutil
import pytest

from model.stream.container import CodedLayer, read_header, write
from service.errors import (
    DamagedStream,
    NotFound,
    Replaced,
    StoreFull,
    StoreUnavailable,
    UnknownFormat,
)
from service.metrics import Metrics
from service.routes.schemas import picture_info
from service.settings import Settings
from service.storage import changes, fsck
from service.storage.listing import KEYS, OLD, shard
from service.storage.records import Facts, Record
from service.storage.store import RECORD_SECONDS, Store
from service.storage.valkey import EmbeddedValkey
from tests.service.storage.breaking import breaking
from tests.service.storage.listed import listed, lists

LAYERS = [
    CodedLayer(64, 48, 75, b"hyper", [b"a" * 100]),
    CodedLayer(640, 480, 75, b"hyper", [b"b" * 4000] * 6),
]
STREAM = write(b"model-id", 256, LAYERS)
PLANES = (b"plane 0", b"plane 01")
FACTS = Facts(1000.5, source_bytes=9, source_format="PNG", quality=75, thumbhash="x", average="#000000")


def record(number: int = 0, created: float = 1000.5, **facts) -> Record:
    name = "abcdefgh"[number] * 32
    return Record(name, read_header(STREAM), replace(FACTS, created=created, **facts))


async def pictures_keys(raw):
    """All keys but the stream that tells of changes."""
    return set(await raw.keys()) - {changes.KEY.encode()}


async def test_what_is_put_comes_back(store):
    kept = record(alpha=(7, 8))
    await store.put(kept, STREAM, PLANES)
    assert await store.record(kept.id, fresh=True) == kept
    assert await store.prefix(kept, 1) == STREAM
    assert [await store.alpha(kept, k) for k in (0, 1)] == list(PLANES)


async def test_only_the_prefix_is_read(valkey, store):
    await store.put(record(), STREAM, ())
    metrics = Metrics()
    other = Store(valkey.url, Settings(), metrics)
    end = record().header.layers[0].end
    assert await other.prefix(await other.record(record().id), 0) == STREAM[:end]
    read = metrics.registry.get_sample_value("compass_bytes_read_total")
    assert read == end + min(len(STREAM), 228)  # the first time with a header
    await other.prefix(await other.record(record().id), 0)
    assert metrics.registry.get_sample_value("compass_bytes_read_total") == read + end
    await other.close()


async def test_keys_of_a_picture_share_a_hash_tag(store, raw):
    kept = record(alpha=(7, 8))
    await store.put(kept, STREAM, PLANES)
    keys = {key.decode() for key in await raw.keys() if not lists(key)}
    assert len(keys) == 4
    assert all(key.startswith("{" + kept.id + "}:") for key in keys)


@pytest.mark.parametrize("at", [0, 20, 60, 120, 5000, len(STREAM) - 1])
async def test_flipped_bits_are_found(store, raw, at):
    kept = record()
    await store.put(kept, STREAM, ())
    await raw.setrange(f"{{{kept.id}}}:stream", at, bytes([STREAM[at] ^ 4]))
    with pytest.raises(DamagedStream):
        await store.prefix(await store.record(kept.id, fresh=True), 1)


async def test_truncated_stream_and_lost_keys_are_found(store, raw):
    kept = record(alpha=(7, 8))
    await store.put(kept, STREAM, PLANES)
    await raw.set(f"{{{kept.id}}}:alpha:1", b"short")
    with pytest.raises(DamagedStream):
        await store.alpha(kept, 1)
    await raw.delete(f"{{{kept.id}}}:alpha:1")
    with pytest.raises(NotFound):
        await store.alpha(kept, 1)
    await raw.set(f"{{{kept.id}}}:stream", STREAM[:-1])
    with pytest.raises(DamagedStream):
        await store.prefix(kept, 1)
    await raw.set(f"{{{kept.id}}}:facts", b"{")
    with pytest.raises(DamagedStream):
        await store.record(kept.id, fresh=True)
    await raw.delete(f"{{{kept.id}}}:facts")
    with pytest.raises(DamagedStream):
        await store.record(kept.id, fresh=True)
    await raw.delete(f"{{{kept.id}}}:stream")
    with pytest.raises(NotFound):
        await store.prefix(kept, 1)


async def test_what_is_stored_is_verified_whole(store, raw):
    kept = record(alpha=(7, 8))
    await store.put(kept, STREAM, PLANES)
    assert await store.verify(kept.id) == kept
    keys = [f"{{{kept.id}}}:{name}" for name in ("stream", "facts", "alpha:0", "alpha:1")]
    for key in keys:
        whole = await raw.get(key)
        for broken in (whole[:-1], whole + b"!", b""):
            await raw.set(key, broken)
            with pytest.raises(DamagedStream):
                await store.verify(kept.id)
        await raw.delete(key)
        with pytest.raises(DamagedStream):
            await store.verify(kept.id)
        await raw.set(key, whole)
    assert await store.verify(kept.id) == kept
    await raw.delete(*keys)
    with pytest.raises(NotFound):
        await store.verify(kept.id)


@pytest.mark.parametrize(("name", "at"), [("stream", 0), ("stream", 5000), ("facts", 0)])
async def test_damaged_pictures_are_deleted_and_written_anew(store, raw, name, at):
    kept = record(alpha=(7, 8))
    for repair in (True, False):
        await store.put(kept, STREAM, PLANES)
        await raw.setrange(f"{{{kept.id}}}:{name}", at, b"!")
        with pytest.raises(DamagedStream):
            await store.verify(kept.id)
        if repair:
            assert await store.put(kept, STREAM, PLANES) == await store.verify(kept.id) == kept
        else:
            await store.delete(kept.id)
            assert await store.page(None, 10) == ([], None)
            assert not await pictures_keys(raw)


async def test_what_is_repaired_meanwhile_is_not_deleted(valkey, store, raw):
    """However writing falls in time around the deletion: it is acknowledged, so it must be there."""
    other = Store(valkey.url, Settings(), Metrics())

    async def repair(turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        await other.put(record(), STREAM, ())

    async def delete() -> None:
        with suppress(NotFound):
            await store.delete_damaged(record().id)

    for turns in range(100):
        await store.put(record(), STREAM, ())
        await raw.setrange(f"{{{record().id}}}:stream", 5000, b"!")
        await asyncio.gather(delete(), repair(turns // 3))
        assert await store.verify(record().id) == record()
    await delete()
    assert await store.verify(record().id) == record()  # it is not damaged
    await other.close()


async def test_alpha_planes_are_checked(store, raw, capsys):
    crcs = tuple(crc32(plane) for plane in PLANES)
    kept = await store.put(record(alpha=(7, 8), alpha_crcs=crcs), STREAM, PLANES)
    assert await store.verify(kept.id) == kept
    await raw.setrange(f"{{{kept.id}}}:alpha:1", 3, b"!")
    assert await store.alpha(kept, 0) == PLANES[0]
    with pytest.raises(DamagedStream):
        await store.alpha(kept, 1)
    assert await fsck.check(store, delete=False) == fsck.EXIT_DAMAGED
    assert "alpha plane 1" in capsys.readouterr().out


async def test_facts_of_older_versions_are_read(store, raw):
    kept = await store.put(record(alpha=(7, 8)), STREAM, PLANES)
    key = f"{{{kept.id}}}:facts"
    values = json.loads(await raw.get(key))
    del values["crc"], values["alpha_crcs"]  # as older versions wrote them
    await raw.set(key, json.dumps(values))
    await raw.setrange(f"{{{kept.id}}}:alpha:1", 3, b"!")  # nothing to check it by
    assert await store.verify(kept.id) == kept
    for damage in ({"alpha_crcs": [1]}, {"alpha_crcs": 1}, {"alpha": None}, {"alphb": [7, 8]}):
        await raw.set(key, json.dumps({**values, **damage}))
        with pytest.raises(DamagedStream):
            await store.verify(kept.id)
    for text in (b"[]", b"7", b'"created"', b"{}", b"null"):
        await raw.set(key, text)
        with pytest.raises(DamagedStream):
            await store.verify(kept.id)


async def test_every_flipped_bit_of_the_facts_is_found(store, raw):
    kept = await store.put(record(alpha=(7, 8), expires=time.time() + 1000), STREAM, PLANES)
    key = f"{{{kept.id}}}:facts"
    whole = await raw.get(key)
    for at in range(len(whole)):
        await raw.setrange(key, at, bytes([whole[at] ^ 1 << at % 8]))
        with pytest.raises(DamagedStream):
            await store.record(kept.id, fresh=True)
        await raw.setrange(key, at, whole[at : at + 1])
    assert await store.verify(kept.id) == kept


def of_version(version: int) -> bytes:
    """The stream as another version of the format may have it: a byte differs, and the CRC fits."""
    stream = bytearray(STREAM)
    stream[4] = version
    end = read_header(STREAM).length - 4
    stream[end : end + 4] = crc32(stream[:end]).to_bytes(4, "little")
    return bytes(stream)


@pytest.mark.parametrize("version", [2, 4])
async def test_other_versions_of_the_format_are_told_and_left_alone(store, raw, capsys, version):
    """They are no damage: another version of this program reads them."""
    for number in range(2):
        await store.put(record(number, alpha=(7, 8)), STREAM, PLANES)
    name = f"{{{record().id}}}:stream"
    await raw.set(name, of_version(version))
    for asked in (store.record(record().id, fresh=True), store.verify(record().id)):
        with pytest.raises(UnknownFormat, match=f"version {version}") as told:
            await asked
        assert told.value.status == 503
    listed, _ = await store.page(None, 9)
    assert [r.id for r in listed] == [record(1).id]
    assert await fsck.check(store, delete=True) == 0
    assert "1 pictures in another version of the format" in capsys.readouterr().out
    assert await raw.get(name) == of_version(version)
    assert await store.prune() == 0
    await store.put(record(), STREAM, ())
    assert (await store.verify(record().id)).bytes == len(STREAM)
    assert len(await raw.keys(f"*{record().id}*")) == 2  # the planes of what was there before are gone
    await raw.set(name, of_version(version))
    await store.delete(record().id)
    assert await raw.get(name) is None


async def test_delete(store, raw):
    await store.put(record(alpha=(7, 8)), STREAM, PLANES)
    await store.delete(record().id)
    assert not await pictures_keys(raw)
    with pytest.raises(NotFound):
        await store.record(record().id)
    with pytest.raises(NotFound):
        await store.delete(record().id)


async def test_another_stream_under_the_same_id_is_read_the_second_time(valkey, store):
    """Another service has coded the same upload on other hardware, to other bytes."""
    kept = await store.put(record(), STREAM, ())
    await store.record(kept.id)
    longer = write(b"model-id", 256, [*LAYERS[:1], replace(LAYERS[1], hyper_latents=b"longer")])
    other = Store(valkey.url, Settings(), Metrics())
    await other.put(Record(kept.id, read_header(longer), FACTS), longer, ())
    with pytest.raises(Replaced):
        await store.prefix(await store.record(kept.id), 1)
    assert await store.prefix(await store.record(kept.id), 1) == longer
    await other.close()


async def test_deleted_pictures_are_not_remembered(valkey, store):
    """However reads fall in time around the deletion, and whichever service deletes."""
    kept = record(alpha=(7, 8))

    async def read(turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        with suppress(NotFound):
            await store.record(kept.id)

    async def check(turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        with suppress(NotFound):
            await store.verify(kept.id)  # never damaged

    for _ in range(100):
        await store.put(kept, STREAM, PLANES)
        await store.record(kept.id)
        reads = [read(turns) for turns in range(0, 24, 2)]
        checks = [check(turns) for turns in range(0, 24, 6)]
        await asyncio.gather(store.delete(kept.id), *reads, *checks)
        with pytest.raises(NotFound):
            await store.record(kept.id)
    other = Store(valkey.url, Settings(), Metrics())
    await store.put(kept, STREAM, PLANES)
    assert await other.record(kept.id) == kept
    await store.delete(kept.id)
    await asyncio.sleep(RECORD_SECONDS)
    with pytest.raises(NotFound):
        await other.record(kept.id)
    await other.close()


async def test_records_are_remembered(store, raw):
    kept = await store.put(record(), STREAM, ())
    assert await store.record(kept.id) == kept
    await raw.delete(f"{{{kept.id}}}:facts")
    assert await store.record(kept.id) == kept
    with pytest.raises(DamagedStream):
        await store.record(kept.id, fresh=True)


async def test_as_many_records_are_remembered_as_the_settings_say(valkey, raw):
    for header_cache, hits in ((0, 0), (2, 2)):
        metrics = Metrics()
        store = Store(valkey.url, Settings(header_cache=header_cache), metrics)
        for number in range(3):
            await store.put(record(number), STREAM, ())
            await store.record(record(number).id)
        for number in reversed(range(3)):
            await store.record(record(number).id)
        assert (
            metrics.registry.get_sample_value("compass_cache_hits_total", {"cache": "headers"}) or 0
        ) == hits
        await store.close()


async def test_time_to_live(store, raw):
    kept = record(alpha=(7, 8), expires=time.time() + 0.6)
    await store.put(kept, STREAM, PLANES)
    assert all([await raw.pttl(key) > 0 for key in await raw.keys() if not lists(key)])
    time.sleep(1.1)  # noqa: ASYNC251 - the server's clock is what we wait for
    with pytest.raises(NotFound):
        await store.record(kept.id)
    assert await store.page(None, 10) == ([], None)
    assert not await pictures_keys(raw)


async def test_extending_a_life(store, raw):
    soon, late = time.time() + 100, time.time() + 1000
    kept = record(alpha=(7, 8), expires=soon)
    await store.put(kept, STREAM, PLANES)
    assert await store.extend(kept, soon - 50) == kept
    longer = await store.extend(kept, late)
    assert longer is not None
    assert longer.facts.expires == late
    assert await store.record(kept.id) == longer
    keys = [key for key in await raw.keys() if not lists(key)]
    assert all([await raw.ttl(key) > 900 for key in keys])
    assert (await store.extend(longer, None)).facts.expires is None
    assert all([await raw.ttl(key) == -1 for key in keys])
    await raw.delete(keys[0])
    assert await store.extend(kept, None) is None


async def test_the_longest_life_holds_whoever_comes_last(valkey, store, raw):
    """Both services have read the picture before either of them changes it."""
    other = Store(valkey.url, Settings(), Metrics())
    keys = [f"{{{record().id}}}:{name}" for name in ("stream", "facts", "alpha:0", "alpha:1")]
    kept = await store.put(record(alpha=(7, 8), expires=time.time() + 50), STREAM, PLANES)
    assert (await store.extend(kept, None)).facts.expires is None
    assert (await other.extend(kept, time.time() + 100)).facts.expires is None
    assert [await raw.ttl(key) for key in keys] == [-1] * 4
    again = record(alpha=(7, 8), created=2000.0, expires=time.time() + 100)
    assert await other.put(again, STREAM, PLANES) == record(alpha=(7, 8))  # for ever, and of its first age
    assert [await raw.ttl(key) for key in keys] == [-1] * 4
    assert await store.record(kept.id, fresh=True) == record(alpha=(7, 8))
    assert len((await store.page(None, 10))[0]) == 1
    await other.close()


async def test_a_crowd_of_writers_leaves_the_longest_life(valkey, store, raw):
    stores = [Store(valkey.url, Settings(), Metrics()) for _ in range(4)]
    for _ in range(20):
        ends = [time.time() + seconds for seconds in range(100, 108)]
        kept = await store.put(record(expires=ends[0]), STREAM, ())
        others = [stores[k % 4].extend(kept, end) for k, end in enumerate(ends)]
        writers = [stores[k % 4].put(record(expires=end), STREAM, ()) for k, end in enumerate(ends[:4])]
        await asyncio.gather(*others, *writers)
        assert (await store.record(kept.id, fresh=True)).facts.expires == ends[-1]
        assert await raw.pttl(f"{{{kept.id}}}:stream") > 106_000
        await store.delete(kept.id)
    for one in stores:
        await one.close()


async def test_writing_to_a_store_that_hangs_is_given_up(valkey, raw):
    store = Store(valkey.url, Settings(store_timeout=0.2), Metrics())
    await store.put(record(), STREAM, ())
    server = psutil.Process((await raw.info("server"))["process_id"])
    server.suspend()
    try:
        with pytest.raises(StoreUnavailable):
            await asyncio.wait_for(store.put(record(), STREAM, ()), 20)
    finally:
        server.resume()
    await store.close()


async def test_pages_are_newest_first_and_stable(store):
    records = [record(k, created=1000.0 + k // 2) for k in range(5)]  # some at the same instant
    for kept in records[:4]:
        await store.put(kept, STREAM, ())
    first, cursor = await store.page(None, 2)
    await store.put(records[4], STREAM, ())  # newer than all: must not shift the pages
    second, end = await store.page(cursor, 2)
    assert [r.id for r in first + second] == [r.id for r in reversed(records[:4])]
    assert (await store.page(end, 2)) == ([], None)
    assert (await store.page(None, 1))[0] == [records[4]]


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
    pages, cursor = await store.page(None, 1)
    while cursor:
        page, cursor = await store.page(cursor, 1)
        pages += page
    assert [(kept.id, kept.facts.created) for kept in pages] == [(record(0).id, 2000), (record(2).id, 1500)]
    assert len(await listed(raw)) == 2
    other = Store(valkey.url, Settings(), Metrics())  # deletes and stores what this one remembers
    await other.delete(record(0).id)
    await other.put(record(0, created=3000.0), STREAM, ())
    assert [kept.facts.created for kept in (await store.page(None, 9))[0]] == [3000, 1500]
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


async def put_all(store, records, stream):
    for kept in records:
        await store.put(kept, stream, ())


async def test_a_full_store_refuses_writes_and_goes_on_reading(tmp_path):
    server = EmbeddedValkey(tmp_path, memory_bytes=3_000_000)
    await server.start()
    store = Store(server.url, Settings(), Metrics())
    await store.put(record(0), STREAM, ())
    big = write(b"model-id", 256, [CodedLayer(64, 48, 75, b"hyper", [b"x" * 4_000_000])])
    kept = [Record(letter * 32, read_header(big), FACTS) for letter in "bcdefgh"]
    with pytest.raises(StoreFull):
        await put_all(store, kept, big)
    assert await store.prefix(await store.record(record(0).id, fresh=True), 1) == STREAM
    await store.close()
    await server.stop()


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


async def test_a_lost_store_is_an_error_and_recovers(valkey):
    metrics = Metrics()
    store = Store(valkey.url, Settings(store_timeout=0.5), metrics)
    await store.put(record(), STREAM, ())
    await valkey.stop()
    writing = store.put(record(1), STREAM, ())
    for action in (store.ping(), store.prefix(record(), 0), writing, store.page(None, 1)):
        with pytest.raises(StoreUnavailable):
            await action
    assert metrics.registry.get_sample_value("compass_store_errors_total") == 4
    await valkey.start()
    assert await store.prefix(await store.record(record().id, fresh=True), 1) == STREAM
    await store.close()


@pytest.mark.parametrize("steps", range(9))
async def test_who_is_cancelled_gets_no_further(store, steps):
    """redis-py's own timeouts swallow a cancellation that comes while a command is sent."""
    await asyncio.gather(*(store.ping() for _ in range(20)))
    errands = [asyncio.create_task(store.ping()) for _ in range(20)]
    for _ in range(steps):
        await asyncio.sleep(0)
    under_way = [errand for errand in errands if not errand.done()]
    for errand in under_way:
        errand.cancel()
    await asyncio.wait(errands)
    assert all(errand.cancelled() for errand in under_way)
    await store.ping()


async def test_a_hung_store_has_one_deadline(valkey):
    """Retries, and waiting for a connection, included; afterwards all is well."""
    store = Store(valkey.url, Settings(store_timeout=1, store_connections=2), Metrics())
    await store.put(record(), STREAM, ())
    server = psutil.Process(valkey._process.pid)
    server.suspend()
    try:
        errands = [store.record(record().id, fresh=True), store.put(record(), STREAM, ()), store.ping()] * 2
        began = time.monotonic()
        outcomes = await asyncio.gather(*errands, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}
        assert time.monotonic() - began < 2
    finally:
        server.resume()
    assert await store.record(record().id, fresh=True) == record()
    await store.close()


WRONG_FACTS = [
    {"created": 1e300},
    {"created": -1e12},
    {"created": 1e11},
    {"expires": 1e300},
    {"alpha": [7]},
    {"alpha": [7, 8, 9]},
    {"alpha": [7, -8]},
    {"quality": 10**30},
    {"source_bytes": -1},
    {"source_format": "\ud800"},
    {"thumbhash": "\ud800"},
    {"average": "red"},
]
"""What is JSON of the right types, with the right checksum, and still cannot be."""


@pytest.mark.parametrize("wrong", WRONG_FACTS, ids=str)
async def test_one_picture_with_wrong_facts_disturbs_no_other(store, raw, capsys, wrong):
    for number in range(3):
        await store.put(record(number, created=1000.5 + number), STREAM, ())
    key = f"{{{record(1).id}}}:facts"
    values = {**json.loads(await raw.get(key)), **wrong}
    del values["crc"]
    crc = crc32(json.dumps(values, sort_keys=True, separators=(",", ":")).encode())
    await raw.set(key, json.dumps({**values, "crc": crc}))
    await asyncio.sleep(0)
    store._records.clear()
    with pytest.raises(DamagedStream):
        await store.record(record(1).id)
    listed, _ = await store.page(None, 9)
    assert [picture_info(kept).id for kept in listed] == [record(2).id, record(0).id]
    assert await fsck.check(store, delete=True) == fsck.EXIT_DAMAGED
    assert f"{record(1).id}: " in capsys.readouterr().out
    assert await fsck.check(store, delete=False) == 0


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
    assert [kept.id for kept in (await store.page(None, 9))[0]] == [record(0).id]
    assert await fsck.check(store, delete=True) == fsck.EXIT_DAMAGED
    assert "3 pictures, 2 damaged" in capsys.readouterr().out
    assert await fsck.check(store, delete=False) == 0
    assert await raw.get(b"{\xff\xfe}:stream") == b"x"


async def test_a_listing_asks_once_for_all(store, raw):
    for number in range(8):
        await store.put(record(number, created=1000.5 + number), STREAM, ())
    store._records.clear()
    before = (await raw.info("stats"))["total_reads_processed"]
    assert len((await store.page(None, 500))[0]) == 8
    assert (await raw.info("stats"))["total_reads_processed"] - before <= 4


async def test_a_write_whose_connection_broke_is_not_repeated(valkey, tmp_path):
    """It may be what ended the server, on a full disk; and it may have been carried out."""
    async with breaking(valkey.url, tmp_path, b"EXEC") as (url, between):
        opened = Store(url, Settings(), Metrics())
        with pytest.raises(StoreUnavailable):
            await opened.put(record(), STREAM, ())
        assert between.broken == 1
        await opened.close()


async def test_a_reading_whose_connection_broke_is_tried_again(valkey, tmp_path, store):
    await store.put(record(), STREAM, ())
    async with breaking(valkey.url, tmp_path, b"GETRANGE") as (url, between):
        opened = Store(url, Settings(), Metrics())
        with pytest.raises(StoreUnavailable):
            await opened.record(record().id)
        assert between.broken > 1
        await opened.close()
