"""Reading on a real Valkey: by prefix, and checked every time."""

import asyncio
import json
import time
from contextlib import suppress
from dataclasses import replace
from zlib import crc32

import pytest

from model.stream.container import read_header, write
from service.errors import DamagedStream, NotFound, Replaced, StoreUnavailable, UnknownFormat
from service.metrics import Metrics
from service.routes.schemas import picture_info
from service.settings import Settings
from service.storage import fsck
from service.storage.reading import RECORD_SECONDS
from service.storage.records import Record
from service.storage.store import Store
from tests.service.storage.breaking import breaking
from tests.service.storage.samples import FACTS, LAYERS, PLANES, STREAM, of_version, record


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
    listed, _ = await store.catalogue.page(None, 9)
    assert [r.id for r in listed] == [record(1).id]
    assert await fsck.check(store, delete=True) == 0
    assert "1 pictures in another version of the format" in capsys.readouterr().out
    assert await raw.get(name) == of_version(version)
    assert await store.catalogue.prune() == 0
    await store.put(record(), STREAM, ())
    assert (await store.verify(record().id)).bytes == len(STREAM)
    assert len(await raw.keys(f"*{record().id}*")) == 2  # the planes of what was there before are gone
    await raw.set(name, of_version(version))
    await store.delete(record().id)
    assert await raw.get(name) is None


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


async def test_the_header_of_a_deleted_picture_is_not_found(store):
    kept = await store.put(record(), STREAM, ())
    assert await store.header(kept) == STREAM[: kept.header.length]
    await store.delete(kept.id)
    with pytest.raises(NotFound):
        await store.header(kept)


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
    listed, _ = await store.catalogue.page(None, 9)
    assert [picture_info(kept).id for kept in listed] == [record(2).id, record(0).id]
    assert await fsck.check(store, delete=True) == fsck.EXIT_DAMAGED
    assert f"{record(1).id}: " in capsys.readouterr().out
    assert await fsck.check(store, delete=False) == 0


async def test_a_reading_whose_connection_broke_is_tried_again(valkey, tmp_path, store):
    await store.put(record(), STREAM, ())
    async with breaking(valkey.url, tmp_path, b"GETRANGE") as (url, between):
        opened = Store(url, Settings(), Metrics())
        with pytest.raises(StoreUnavailable):
            await opened.record(record().id)
        assert between.broken > 1
        await opened.close()
