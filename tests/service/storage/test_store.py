"""The store on a real Valkey: pictures are written whole or not at all."""

import asyncio
import time
from contextlib import suppress

import psutil
import pytest

from model.stream.container import CodedLayer, read_header, write
from service.errors import DamagedStream, NotFound, StoreFull, StoreUnavailable
from service.metrics import Metrics
from service.settings import Settings
from service.storage.records import Record
from service.storage.store import Store
from service.storage.valkey import EmbeddedValkey
from tests.service.storage.breaking import breaking
from tests.service.storage.listed import lists, pictures_keys
from tests.service.storage.samples import FACTS, PLANES, STREAM, record


async def test_what_is_put_comes_back(store):
    kept = record(alpha=(7, 8))
    await store.put(kept, STREAM, PLANES)
    assert await store.record(kept.id, fresh=True) == kept
    assert await store.prefix(kept, 1) == STREAM
    assert [await store.alpha(kept, k) for k in (0, 1)] == list(PLANES)


async def test_keys_of_a_picture_share_a_hash_tag(store, raw):
    kept = record(alpha=(7, 8))
    await store.put(kept, STREAM, PLANES)
    keys = {key.decode() for key in await raw.keys() if not lists(key)}
    assert len(keys) == 4
    assert all(key.startswith("{" + kept.id + "}:") for key in keys)


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
            assert await store.catalogue.page(None, 10) == ([], None)
            assert not await pictures_keys(raw)


@pytest.mark.parametrize("name", ["stream", "facts", "alpha:0", "original"])
async def test_keys_of_another_type_are_written_anew(store, raw, name):
    await store.put(record(alpha=(7, 8)), STREAM, PLANES)
    key = f"{{{record().id}}}:{name}"
    await raw.delete(key)
    await raw.rpush(key, "a list")
    await store.put(record(alpha=(7, 8)), STREAM, PLANES, b"an upload")
    assert (await store.verify(record().id)).facts.alpha == (7, 8)


async def test_a_queue_of_another_type_stops_no_upload(store, raw):
    await raw.set("compass:refine", "not ours")
    kept = await store.put(record(), STREAM, (), b"an upload")
    assert (await store.verify(kept.id)) == kept
    assert store._metrics.registry.get_sample_value("compass_refinements_total", {"outcome": "unqueued"}) == 1
    await store.delete(kept.id)
    assert await store.catalogue.page(None, 9) == ([], None)


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


async def test_delete(store, raw):
    await store.put(record(alpha=(7, 8)), STREAM, PLANES)
    await store.delete(record().id)
    assert not await pictures_keys(raw)
    with pytest.raises(NotFound):
        await store.record(record().id)
    with pytest.raises(NotFound):
        await store.delete(record().id)


async def test_time_to_live(store, raw):
    kept = record(alpha=(7, 8), expires=time.time() + 0.6)
    await store.put(kept, STREAM, PLANES)
    assert all([await raw.pttl(key) > 0 for key in await raw.keys() if not lists(key)])
    time.sleep(1.1)  # noqa: ASYNC251 - the server's clock is what we wait for
    with pytest.raises(NotFound):
        await store.record(kept.id)
    assert await store.catalogue.page(None, 10) == ([], None)
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
    assert len((await store.catalogue.page(None, 10))[0]) == 1
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


async def test_a_lost_store_is_an_error_and_recovers(valkey):
    metrics = Metrics()
    store = Store(valkey.url, Settings(store_timeout=0.5), metrics)
    await store.put(record(), STREAM, ())
    await valkey.stop()
    writing = store.put(record(1), STREAM, ())
    for action in (store.ping(), store.prefix(record(), 0), writing, store.catalogue.page(None, 1)):
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


async def test_a_write_whose_connection_broke_is_not_repeated(valkey, tmp_path):
    """It may be what ended the server, on a full disk; and it may have been carried out."""
    async with breaking(valkey.url, tmp_path, b"EXEC") as (url, between):
        opened = Store(url, Settings(), Metrics())
        with pytest.raises(StoreUnavailable):
            await opened.put(record(), STREAM, ())
        assert between.broken == 1
        await opened.close()
