"""Acknowledged is what so many replicas, or disks, have: on real replicas, which stand still or die."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio as redis

from service.errors import NotFound, StoreUnavailable
from service.metrics import Metrics
from service.settings import Settings
from service.storage.records import Record
from service.storage.store import Store
from tests.service.servers import Server, wait_for
from tests.service.storage.breaking import breaking
from tests.service.storage.samples import STREAM, record


class Pair:
    """A primary and its replica, on unix sockets as well."""

    def __init__(self, folder: Path) -> None:
        options = {"appendonly": "yes", "appendfsync": "always"}
        self.primary = Server(folder, unixsocket=folder / "p.sock", **options)
        self.replica = Server(folder, replicaof=f"127.0.0.1 {self.primary.port}", **options)
        self.url = f"unix://{folder / 'p.sock'}"

    def start(self) -> None:
        self.primary.start()
        self.replica.start()
        self.wait_until_whole()

    def wait_until_whole(self) -> None:
        wait_for(self._whole)

    def _whole(self) -> bool:
        """Whether the replica has all, in its append-only file too, and the primary knows of it."""
        there = self.replica.client.info("replication")["master_link_status"] == "up"
        known = self.primary.client.info("replication").get("slave0", {}).get("state") == "online"
        return there and known and not self.replica.client.info("persistence")["aof_rewrite_in_progress"]

    def stop(self) -> None:
        self.replica.kill()
        self.primary.kill()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    servers = Pair(tmp_path_factory.mktemp("pair"))
    servers.start()
    yield servers
    servers.stop()


@pytest.fixture(autouse=True)
def nothing_is_stored(pair: Pair) -> None:
    pair.primary.client.flushall()


@asynccontextmanager
async def opened(url: str, **settings: Any) -> AsyncIterator[Store]:
    metrics = Metrics()
    store = Store(url, Settings(redis_url=url, **{"store_timeout": 1, **settings}), metrics)
    yield store
    await store.close()


def unconfirmed(store: Store) -> float | None:
    return store._metrics.registry.get_sample_value("compass_store_unconfirmed_total")


async def confirmed(store: Store, kept: Record) -> None:
    """Return when a picture is confirmed, as its client does who sends it again."""
    for _ in range(20):
        try:
            await store.confirm(kept)
        except StoreUnavailable:
            continue
        return
    raise AssertionError("the replica does not catch up")


@pytest.mark.parametrize("fsync", [False, True])
async def test_what_is_acknowledged_is_at_the_replica(pair, fsync):
    async with opened(pair.url, store_replicas=1, store_fsync=fsync) as store:
        kept = await store.put(record(0), STREAM, ())
        assert pair.replica.client.get(f"{{{kept.id}}}:stream") == STREAM
        assert pair.replica.client.exists(f"{{{kept.id}}}:facts")
        await store.delete(kept.id)
        assert not pair.replica.client.exists(f"{{{kept.id}}}:stream")
        assert unconfirmed(store) == 0


@pytest.mark.parametrize("fsync", [False, True])
async def test_without_the_replica_nothing_is_acknowledged(pair, fsync):
    """Neither an upload, nor one that was sent before, nor a deletion. What was written stays, and is
    acknowledged when it is sent again and the replica is back.
    """
    async with opened(pair.url, store_replicas=1, store_fsync=fsync) as store:
        old = await store.put(record(1), STREAM, ())
        new = record(0, expires=time.time() + 1000)
        pair.replica.hang()
        try:
            began = time.monotonic()
            with pytest.raises(StoreUnavailable, match="0 of 1"):
                await store.put(new, STREAM, ())
            assert time.monotonic() - began < 1.5
            assert await store.verify(new.id) == new
            with pytest.raises(StoreUnavailable, match="0 of 1"):
                await store.confirm(new)
            with pytest.raises(StoreUnavailable, match="0 of 1"):
                await store.extend(new, time.time() + 1e6)
            with pytest.raises(StoreUnavailable, match="0 of 1"):
                await store.delete(old.id)
            with pytest.raises(StoreUnavailable, match="0 of 1"):  # and not 404: it might come back
                await store.delete(old.id)
            assert unconfirmed(store) == 5
        finally:
            pair.replica.go_on()
        await confirmed(store, new)
        with pytest.raises(NotFound):
            await store.delete(old.id)
        assert pair.replica.client.get(f"{{{record(0).id}}}:stream") == STREAM
        assert not pair.replica.client.keys(f"*{old.id}*")


async def test_what_another_server_had_is_not_confirmed(pair):
    """As after a failover between the reading of a picture that was never acknowledged and this."""
    async with opened(pair.url, store_replicas=1) as store:
        kept = await store.put(record(0), STREAM, ())
        assert await store.verify(kept.id) == kept
        pair.primary.client.flushall()
        with pytest.raises(NotFound):
            await store.confirm(kept)
        with pytest.raises(NotFound):
            await store.record(kept.id)


async def test_a_full_store_still_confirms_and_deletes(pair):
    async with opened(pair.url, store_replicas=1) as store:
        kept = await store.put(record(0), STREAM, ())
        pair.primary.client.config_set("maxmemory", 1)
        try:
            await store.confirm(kept)
            await store.delete(kept.id)
            with pytest.raises(NotFound):
                await store.delete(kept.id)
        finally:
            pair.primary.client.config_set("maxmemory", 0)
        assert not pair.replica.client.keys(f"*{kept.id}*")


async def test_more_replicas_than_there_are(pair):
    async with opened(pair.url, store_replicas=2) as store:
        with pytest.raises(StoreUnavailable, match="1 of 2 replicas have it"):
            await store.put(record(0), STREAM, ())


async def test_the_primarys_own_disk(pair):
    async with opened(pair.url, store_fsync=True) as store:
        await store.put(record(0), STREAM, ())
        await store.delete(record(0).id)
        pair.primary.client.config_set("appendonly", "no")
        try:
            with pytest.raises(StoreUnavailable, match="appendonly is disabled"):
                await store.put(record(0), STREAM, ())
        finally:
            pair.primary.client.config_set("appendonly", "yes")
            wait_for(lambda: not pair.primary.client.info("persistence")["aof_rewrite_in_progress"])


@pytest.mark.parametrize("word", [b"WAIT", b"EXEC"])
async def test_a_connection_that_is_lost_before_the_answer(pair, tmp_path, word):
    """A new connection knows nothing of what was written over the old one, and would be answered at once."""
    async with (
        breaking(pair.url, tmp_path, word) as (url, between),
        opened(url, store_replicas=1) as store,
    ):
        with pytest.raises(StoreUnavailable):
            await store.put(record(0), STREAM, ())
        assert between.broken == 1


async def test_a_connection_that_is_ended_between_the_two(pair, monkeypatch):
    """By the server, as it is when it becomes a replica."""
    from service.storage import promises

    raw = redis.Redis(port=pair.primary.port)
    keep = promises.Promise.keep

    async def ended(promise, one, until):
        await raw.client_kill_filter(_id=await one.client_id())
        await asyncio.sleep(0.05)
        await keep(promise, one, until)

    monkeypatch.setattr(promises.Promise, "keep", ended)
    async with opened(pair.url, store_replicas=1) as store:
        with pytest.raises(StoreUnavailable, match="does not answer"):
            await store.put(record(0), STREAM, ())
    await raw.aclose()


async def test_nothing_is_promised_where_nothing_is_asked(pair):
    pair.replica.hang()
    try:
        async with opened(pair.url) as store:
            kept = await store.put(record(0), STREAM, ())
            await store.confirm(kept)
            await store.delete(kept.id)
    finally:
        pair.replica.go_on()
        pair.wait_until_whole()
