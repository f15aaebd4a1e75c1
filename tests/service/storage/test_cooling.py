"""Moving large layers away in the background; whenever that ends, every layer is somewhere."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from service.errors import DamagedStream, ObjectsUnavailable, Replaced, StoreFull
from service.metrics import Metrics
from service.settings import Settings
from service.storage import cooling as module
from service.storage import leases
from service.storage.cooling import Cooling, Moved
from service.storage.store import Store
from tests.service.running import ROOT
from tests.service.storage.samples import PLANES, STREAM, record
from tests.service.storage.test_cold import COLD, END

TAIL = len(STREAM) - END


@pytest.fixture
async def cold_store(valkey, address):
    store = Store(valkey.url, Settings(cold=address, **COLD), Metrics())
    yield store
    await store.close()


def cooling_of(store, seconds=0.0):
    return Cooling(store, store._metrics, seconds)


async def is_cold(store, number):
    return (await store.record(record(number).id, fresh=True)).facts.cold is not None


async def tidied(store, monkeypatch):
    monkeypatch.setattr(module, "SETTLED_SECONDS", -10.0)
    return await cooling_of(store).tidy()


async def test_what_is_old_and_large_is_moved_once(cold_store, buckets, address):
    now = time.time()
    await cold_store.put(record(0, alpha=(7, 8)), STREAM, PLANES)
    await cold_store.put(record(1, created=now), STREAM, ())
    await cold_store.put(record(2, expires=now + 1000), STREAM, ())
    await cold_store.put(record(3), STREAM, (), b"it waits to be refined")
    await cold_store.put(record(4, expires=now + 1e6), STREAM, ())
    moving = cooling_of(cold_store, 60)
    assert await moving.move() == Moved(2, 2 * TAIL)
    assert [await is_cold(cold_store, number) for number in range(5)] == [True, False, False, False, True]
    assert await moving.move() == Moved()
    assert len(buckets.keys(address)) == 2
    assert cold_store._metrics.registry.get_sample_value("compass_cold_moved_pictures_total") == 2
    assert cold_store._metrics.registry.get_sample_value("compass_cold_moved_bytes_total") == 2 * TAIL
    assert await cold_store.whole(record(0).id)


async def test_damaged_pictures_and_those_of_others_stay(cold_store, raw, caplog):
    for number in range(3):
        await cold_store.put(record(number), STREAM, ())
    await raw.setrange(f"{{{record(0).id}}}:stream", 5000, b"!")
    await cold_store.leases.take(record(1).id)
    assert (await cooling_of(cold_store).move()).pictures == 1
    assert [await is_cold(cold_store, number) for number in range(3)] == [False, False, True]
    assert "not moved" in caplog.text


@pytest.mark.parametrize("fault", ["error", "away", "wrong", "cut"])
async def test_no_fault_of_the_bucket_loses_anything(cold_store, buckets, fault, caplog):
    await cold_store.put(record(), STREAM, ())
    moving = cooling_of(cold_store)
    with buckets.being(fault):
        if fault == "wrong":
            assert await moving.move() == Moved()
            assert "something else came back" in caplog.text
        else:
            with pytest.raises(module.ServiceError):
                await moving.move()
        assert await cold_store.prefix(await cold_store.record(record().id, fresh=True), 1) == STREAM
    assert await moving.move() == Moved(1, TAIL)
    assert (await cold_store.whole(record().id))[1] == STREAM


async def test_tidying_deletes_what_no_picture_has(cold_store, buckets, address, monkeypatch, raw):
    for number in range(3):
        await cold_store.put(record(number), STREAM, ())
    await cooling_of(cold_store).move()
    await raw.delete(*[f"{{{record(0).id}}}:{name}" for name in ("stream", "facts")])  # it expired
    await cold_store.put(record(1), STREAM, ())  # stored anew
    await cold_store.cold.write(record(2).id, END, b"of a move that was broken off")
    kept = (await cold_store.record(record(2).id)).facts.cold
    assert await cooling_of(cold_store).tidy() == 0  # a move may be under way
    assert len(buckets.keys(address)) == 4
    assert await tidied(cold_store, monkeypatch) == 3
    assert buckets.keys(address) == [f"cold/{record(2).id}/{kept.token}"]
    (tokens,) = [key for key in await raw.keys() if key.endswith(b":cold")]
    assert tokens.decode() == f"{{{record(2).id}}}:cold"
    assert (await cold_store.whole(record(2).id))[1] == STREAM


async def test_a_clock_that_is_ahead_takes_no_layers_from_a_move_under_way(cold_store, monkeypatch):
    """Another service believes that the object was written long ago."""
    kept = await cold_store.put(record(), STREAM, ())
    lease = await cold_store.leases.take(kept.id)
    cold = await cold_store.cold.write(kept.id, len(STREAM) - TAIL, STREAM[-TAIL:])
    assert await tidied(cold_store, monkeypatch) == 1
    assert await cold_store.cool(lease, kept, STREAM[:-TAIL], cold) is None
    assert (await cold_store.whole(kept.id))[1] == STREAM


async def test_a_clock_that_is_ahead_takes_no_layers_of_pictures_that_live(
    cold_store, monkeypatch, buckets, address, raw
):
    expires = time.time() + 3 * 86400
    await cold_store.put(record(expires=expires), STREAM, ())
    assert (await cooling_of(cold_store).move()).pictures == 1
    with monkeypatch.context() as ahead:
        ahead.setattr(time, "time", lambda: expires + 86400)
        assert await cooling_of(cold_store).tidy() == 0
        assert (await cold_store.catalogue.page(None, 9))[0] == []
        assert await cold_store.catalogue.prune() == 0
    assert len(buckets.keys(address)) == 1
    assert (await cold_store.whole(record().id))[1] == STREAM
    assert [one.id for one in (await cold_store.catalogue.page(None, 9))[0]] == [record().id]


async def test_a_full_store_makes_room_by_moving(cold_store, raw):
    for number in range(2):
        await cold_store.put(record(number, expires=time.time() + 1e6), STREAM, ())
    before = await raw.pttl(f"{{{record(0).id}}}:stream")
    await raw.config_set("maxmemory", (await cold_store.memory())[0] - 1000)
    with pytest.raises(StoreFull):
        await cold_store.put(record(2), STREAM, ())
    assert await cooling_of(cold_store).move() == Moved(2, 2 * TAIL)
    await raw.config_set("maxmemory", 0)
    for number in range(2):
        assert (await cold_store.whole(record(number).id))[1] == STREAM
    assert before - 60_000 < await raw.pttl(f"{{{record(0).id}}}:stream") <= before


async def test_a_slow_tier_takes_layers_all_the_same(cold_store, monkeypatch):
    """A move that takes longer than its lease."""
    monkeypatch.setattr(leases, "LEASE_SECONDS", 0.5)
    await cold_store.put(record(), STREAM, ())
    put = cold_store.cold._given.put

    async def slowly(*arguments):
        await asyncio.sleep(1)
        await put(*arguments)

    cold_store.cold._given.put = slowly
    assert await cooling_of(cold_store).move() == Moved(1, TAIL)
    assert (await cold_store.whole(record().id))[1] == STREAM


async def test_what_cannot_be_deleted_now_is_deleted_later(cold_store, monkeypatch, buckets, address):
    await cold_store.put(record(), STREAM, ())
    await cold_store.cold.write(record().id, len(STREAM) - TAIL, STREAM[-TAIL:])
    deleting = cold_store.cold._given.delete

    async def fails(key):
        raise ObjectsUnavailable("away")

    cold_store.cold._given.delete = fails
    with pytest.raises(ObjectsUnavailable):
        await tidied(cold_store, monkeypatch)
    cold_store.cold._given.delete = deleting
    assert await tidied(cold_store, monkeypatch) == 1
    assert buckets.keys(address) == []


async def test_a_new_store_deletes_nothing_from_an_old_bucket(
    cold_store, buckets, address, monkeypatch, raw, caplog
):
    await cold_store.put(record(), STREAM, ())
    await cooling_of(cold_store).move()
    await raw.flushall()
    assert await tidied(cold_store, monkeypatch) == 0
    assert "1 objects in the cold tier were not written by this store" in caplog.text
    assert len(buckets.keys(address)) == 1


async def test_a_picture_that_cannot_be_read_keeps_its_object(cold_store, raw, monkeypatch):
    await cold_store.put(record(), STREAM, ())
    await cooling_of(cold_store).move()
    await raw.setrange(f"{{{record().id}}}:facts", 5, b"!!!")
    with pytest.raises(DamagedStream):
        await cold_store.record(record().id, fresh=True)
    assert await tidied(cold_store, monkeypatch) == 0


async def test_it_outlasts_a_bucket_that_is_away(cold_store, buckets, caplog, monkeypatch):
    caplog.set_level("INFO", "compass")
    monkeypatch.setattr(module, "_LEAST_PASS", 0.05)
    await cold_store.put(record(), STREAM, ())
    with buckets.being("away"):
        moving = asyncio.create_task(cooling_of(cold_store).for_ever())
        while "broken off" not in caplog.text:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    while "1 pictures have moved to the cold tier" not in caplog.text:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    moving.cancel()


async def test_whenever_readers_come_they_get_the_stream(cold_store, valkey, address):
    """While pictures move away and come back, from a service that knows them from before."""
    reader = Store(valkey.url, Settings(cold=address, **COLD), Metrics())
    name = record().id
    await cold_store.put(record(), STREAM, ())
    end = time.monotonic() + 3
    read = replaced = 0

    async def reading():
        nonlocal read, replaced
        while time.monotonic() < end:
            try:
                assert await reader.prefix(await reader.record(name), 1) == STREAM
                read += 1
            except Replaced:  # a route asks again
                replaced += 1

    async def moving():
        while time.monotonic() < end:
            await cooling_of(cold_store).move()
            await asyncio.sleep(random.random() / 20)
            await cold_store.put(record(), STREAM, ())

    await asyncio.gather(reading(), reading(), moving())
    assert read > 20
    assert replaced
    assert reader._metrics.registry.get_sample_value("compass_damaged_streams_total") == 0
    await reader.close()


MOVER = """
import asyncio, sys
from service.metrics import Metrics
from service.settings import Settings
from service.storage.cooling import Cooling
from service.storage.store import Store

async def main():
    store = Store(sys.argv[1], Settings(), Metrics())
    print("begins", flush=True)
    await Cooling(store, Metrics(), 0).move()
    await store.close()

asyncio.run(main())
"""


async def changes(raw):
    """How many commands the server has worked on that may change something, those in scripts as well.

    Moments are counted by them: a slow machine has done nothing in a time in which a fast one has done all.
    """
    kinds = await raw.info("commandstats")
    return sum(
        kinds.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("set", "exec", "evalsha", "eval")
    )


@pytest.mark.slow
async def test_each_state_of_a_move_survives_a_kill(cold_store, raw, valkey, address, buckets, monkeypatch):
    """Thirty movers killed at any moment: all pictures whole after each, and all are moved in the end."""
    names = []
    for k in range(60):
        name = f"{'abcdefghijklmnopqrstuvwxyz'[k % 26]}{k // 26 + 2}" * 16
        names.append(name)
        await cold_store.put(replace(record(), id=name), STREAM, ())
    environment = {
        **os.environ,
        **{f"COMPASS_{n.upper()}": str(v) for n, v in {**COLD, "cold": address}.items()},
    }
    chance = random.Random(3)
    for kill in range(30):
        kill_at = await changes(raw) + chance.randrange(36)  # what four moves at once take, and more
        mover = subprocess.Popen(  # noqa: ASYNC220
            [sys.executable, "-c", MOVER, valkey.url], env=environment, cwd=ROOT, stdout=subprocess.PIPE
        )
        await asyncio.to_thread(mover.stdout.readline)
        async with asyncio.timeout(60):
            while await changes(raw) < kill_at and mover.poll() is None:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        mover.send_signal(signal.SIGKILL)
        await asyncio.to_thread(mover.wait)
        for name in names:
            stream = (await cold_store.whole(name))[1]
            assert stream == STREAM, kill
        await raw.delete(*[f"{{{name}}}:lease" for name in names])  # as a minute later
    cold = [name for name in names if (await cold_store.record(name, fresh=True)).facts.cold]
    assert cold
    await cooling_of(cold_store).move()
    for name in names:
        assert (await cold_store.record(name, fresh=True)).facts.cold is not None
        assert (await cold_store.whole(name))[1] == STREAM
    await tidied(cold_store, monkeypatch)
    assert len(buckets.keys(address)) == len(names)
