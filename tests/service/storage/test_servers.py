"""The store on a cluster, and on servers that Sentinels watch: who is asked, whatever becomes of them."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import redis
from redis.crc import key_slot

from benchmarks.load.processes import free_port
from model.stream.container import read_header
from service.errors import NotFound, ServiceError, StoreUnavailable
from service.metrics import Metrics
from service.settings import Settings
from service.storage import fsck
from service.storage.listing import KEYS
from service.storage.records import Record, facts_key, stream_key
from service.storage.servers import held
from service.storage.store import Store
from tests.service.servers import Cluster, Server, Watched, wait_for
from tests.service.storage.samples import FACTS, PLANES, STREAM, record
from tests.service.storage.test_listing import names
from tests.service.storage.tls import certificate, encrypted

PASSWORD = "5ecret"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Six nodes with a password."""
    nodes = Cluster(tmp_path_factory.mktemp("cluster"), PASSWORD)
    try:
        yield nodes.start()
    finally:
        nodes.stop()


def opened(url: str, **settings: Any) -> Store:
    """A store with a password and a replica for everything."""
    passwords = {"redis_password": PASSWORD, "sentinel_password": f"{PASSWORD}s"}
    chosen = {**passwords, "store_replicas": 1, **settings}
    return Store(url, Settings(redis_url=url, **chosen), Metrics())


@pytest.fixture
async def store(cluster: Cluster) -> AsyncIterator[Store]:
    """An empty store on the cluster."""
    cluster.wait_until_whole()
    for node in cluster.primaries:
        node.client.flushall()
    one = opened(cluster.url)
    yield one
    await one.close()


def pictures(number: int, seed: int = 0) -> list[Record]:
    """Records of pictures that lie all over the slots, each a millisecond younger than the one before."""
    return [
        Record(name, read_header(STREAM), replace(FACTS, created=1000 + k / 1000))
        for k, name in enumerate(names(number, seed))
    ]


def holder(cluster: Cluster, picture: str) -> Server:
    """The primary that has a picture."""
    return cluster.holder(key_slot(stream_key(picture).encode()))


async def test_everything_that_a_store_does(cluster, store, capsys):
    """Put, read, list in order, extend, refine, check, delete: on three servers, with a replica each."""
    kept = pictures(40)
    for one in kept:
        await store.put(one, STREAM, (), b"upload" if one is kept[0] else None)
    assert len({holder(cluster, one.id).port for one in kept}) == 3
    assert all([await store.verify(one.id) == one for one in kept[:5]])
    assert await store.prefix(kept[3], 1) == STREAM
    listed, cursor = [], None
    while True:
        page, cursor = await store.catalogue.page(cursor, 7)
        listed += page
        if cursor is None:
            break
    assert [one.id for one in listed] == [one.id for one in reversed(kept)]
    assert {picture async for picture in store.catalogue.ids()} == {one.id for one in kept}
    taken, _ = await store.waiting.take()
    assert taken is not None
    assert await store.waiting.original(taken) == b"upload"
    assert await store.replace(taken, kept[0], None, "fast") is not None
    assert await store.waiting.counts() == (0, 0)
    assert await store.waiting.take() == (None, 0)
    assert await fsck.check(store, delete=False) == 0
    assert "40 pictures, 0 damaged, 0 were missing from the listing, 0 entries" in capsys.readouterr().out
    used, limit = await store.memory()
    assert used > 0 == limit
    for one in kept:
        await store.delete(one.id)
        with pytest.raises(NotFound):
            await store.record(one.id, fresh=True)
    assert await store.catalogue.page(None, 9) == ([], None)
    assert not any(node.client.keys("{*") for node in cluster.nodes)


async def test_an_entry_of_the_listing_that_names_nothing_disturbs_nobody(cluster, store):
    """No two keys of no picture lie together."""
    await store.put(record(), STREAM, ())
    node = cluster.holder(key_slot(KEYS[0].encode()))
    node.client.zadd(KEYS[0], {"nonsense": 0})
    assert [one.id for one in (await store.catalogue.page(None, 9))[0]] == [record().id]
    assert node.client.zrange(KEYS[0], 0, -1) in ([], [record().index_entry.encode()])
    assert await store.catalogue.prune() == 0


async def test_keys_of_a_picture_lie_together_and_expire_together(cluster, store):
    kept = record(alpha=(7, 8), expires=time.time() + 1)
    await store.put(kept, STREAM, PLANES, b"upload")
    node = holder(cluster, kept.id)
    assert len(node.client.keys(f"{{{kept.id}}}:*")) == 5
    assert len(cluster.replica_of(node).client.keys(f"{{{kept.id}}}:*")) == 5
    await asyncio.sleep(1.2)
    with pytest.raises(NotFound):
        await store.record(kept.id, fresh=True)
    assert await store.catalogue.page(None, 9) == ([], None)
    assert await store.waiting.take() == (None, 0)


def move_slowly(cluster: Cluster, slot: int, source: Server, target: Server) -> Iterator[str]:
    """Move a slot as older versions do it, key by key; says what has been done so far."""
    target.client.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", cluster.id(source))
    source.client.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", cluster.id(target))
    yield "nothing has moved"
    keys = sorted(source.client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100))
    address = ("127.0.0.1", target.port, "", 0, 5000, "AUTH", PASSWORD, "KEYS")
    for number, key in enumerate(keys):
        source.client.execute_command("MIGRATE", *address, key)
        yield f"{number + 1} of {len(keys)} keys have moved"
    for node in (target, source):
        node.client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", cluster.id(target))
    yield "all is done"


async def test_a_slot_that_moves_key_by_key(cluster, store):
    """What is whole on one side is read there; what is half there is waited for, and refused at last."""
    kept = await store.put(record(2), STREAM, ())
    source = holder(cluster, kept.id)
    target = next(node for node in cluster.primaries if node is not source)
    hasty = opened(cluster.url, store_timeout=0.6)
    for state in move_slowly(cluster, key_slot(stream_key(kept.id).encode()), source, target):
        if state == "1 of 2 keys have moved":
            with pytest.raises(StoreUnavailable):
                await hasty.record(kept.id, fresh=True)
            continue
        assert await hasty.record(kept.id, fresh=True) == kept
        assert await hasty.prefix(kept, 1) == STREAM
        extended = await hasty.extend(kept, time.time() + 1000)
        assert extended == kept  # which lives for ever
    new = record(2, created=5000.0)
    assert await hasty.put(new, STREAM, ()) == kept
    await hasty.delete(kept.id)
    await hasty.close()


async def test_slots_that_move_at_once_under_load(cluster, store):
    """Valkey 9 moves slots whole. Nothing is refused, nothing is lost, and nothing is there twice."""
    done = asyncio.Event()
    kept: list[Record] = []
    refused: list[ServiceError] = []

    async def load(seed: int) -> None:
        for one in pictures(2000, seed):
            if done.is_set():
                return
            try:
                await store.put(one, STREAM, ())
                kept.append(one)
                assert await store.record(kept[-1].id, fresh=True) == one
                assert await store.prefix(one, 1) == STREAM
            except ServiceError as error:
                refused.append(error)

    loads = [asyncio.create_task(load(seed)) for seed in range(1, 4)]
    for turn in range(4):
        source, target = cluster.primaries[turn % 3], cluster.primaries[(turn + 1) % 3]
        first, last = cluster.slots(source)[0]
        middle = (first + last) // 2
        command = ("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", first, middle, "NODE", cluster.id(target))
        await asyncio.to_thread(source.client.execute_command, *command)
        await asyncio.to_thread(wait_for, partial(_moved, source))
        before = len(kept)
        while len(kept) < before + 20:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    done.set()
    await asyncio.gather(*loads)
    assert not refused
    for one in kept:
        assert await store.record(one.id, fresh=True) == one
    assert len({picture async for picture in store.catalogue.ids()}) == len(kept)


def _moved(node: Server) -> bool:
    """Whether all slots that a node was to give have gone."""
    states = {one[b"state"] for one in node.client.execute_command("CLUSTER", "GETSLOTMIGRATIONS")}
    assert not {b"failed", b"canceled"} & states
    return states == {b"success"}


async def test_a_server_that_holds_nothing_yet_is_asked_as_it_is_told(cluster, store):
    """ASKING goes over the connection that the command goes over, for each command of a transaction."""
    kept = await store.put(record(4), STREAM, ())
    source = holder(cluster, kept.id)
    target = next(node for node in cluster.primaries if node is not source)
    moving = move_slowly(cluster, key_slot(stream_key(kept.id).encode()), source, target)
    for state in moving:
        if state == "2 of 2 keys have moved":
            break
    client = store._servers.at(("127.0.0.1", target.port))
    with pytest.raises(redis.exceptions.MovedError):
        await client.get(facts_key(kept.id))
    async with held(client, asking=True) as one:
        assert await one.exists(facts_key(kept.id))
        async with one.pipeline() as pipe:
            await pipe.watch(facts_key(kept.id))
            assert await pipe.get(facts_key(kept.id))
            pipe.multi()
            pipe.getrange(stream_key(kept.id), 0, 3)
            assert await pipe.execute() == [STREAM[:4]]
    assert list(moving) == ["all is done"]


@pytest.mark.slow
async def test_a_primary_that_dies_under_load(cluster, store):
    """Its replica takes its place; all that was acknowledged is there, and the store goes on by itself."""
    kept: list[Record] = []
    refused = 0
    done = asyncio.Event()

    async def load(seed: int) -> None:
        nonlocal refused
        for one in pictures(20_000, seed):
            if done.is_set():
                return
            try:
                await store.put(one, STREAM, ())
            except StoreUnavailable:
                refused += 1
                await asyncio.sleep(0.05)
            else:
                kept.append(one)

    loads = [asyncio.create_task(load(seed)) for seed in range(11, 15)]
    await asyncio.sleep(1)
    victim = cluster.primaries[0]
    heir = cluster.replica_of(victim)
    victim.kill()
    await asyncio.to_thread(wait_for, lambda: heir.role() == "master")
    await asyncio.to_thread(cluster.wait_until_whole)
    victim.start()
    await asyncio.to_thread(cluster.wait_until_whole)
    before = len(kept)
    until = time.monotonic() + 30
    while len(kept) < before + 100 and time.monotonic() < until:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    done.set()
    await asyncio.gather(*loads)
    assert len(kept) >= before + 100
    assert refused
    for one in kept:
        assert await store.record(one.id, fresh=True) == one
        assert await store.prefix(one, 1) == STREAM


@pytest.mark.slow
async def test_a_primary_alone_acknowledges_nothing(cluster, store):
    """Cut off from all others, while they still speak to us: its replica takes its place, and nothing that it
    took after that is acknowledged.
    """
    some = pictures(400, 21)
    lonely = cluster.primaries[1]
    heir = cluster.replica_of(lonely)
    mine = [one for one in some if holder(cluster, one.id) is lonely][:60]
    alone = opened(cluster.url, store_timeout=1)
    for one in mine[:20]:
        await alone.put(one, STREAM, ())
    alone._servers._eye = _Blind(alone._servers._eye)  # it hears of no other primary
    lonely.client.execute_command("DEBUG", "DROP-CLUSTER-PACKET-FILTER", -2)
    acknowledged = []
    until = time.monotonic() + 60
    waiting = iter(mine[20:])
    while heir.role() != "master" and time.monotonic() < until:
        with suppress(StoreUnavailable):
            one = next(waiting, mine[-1])
            await alone.put(one, STREAM, ())
            acknowledged.append(one)
    assert heir.role() == "master"
    for one in mine[20:]:
        with pytest.raises(StoreUnavailable):
            await alone.put(one, STREAM, ())
    for one in (*mine[:20], *acknowledged):
        assert await store.record(one.id, fresh=True) == one
    lonely.client.execute_command("DEBUG", "DROP-CLUSTER-PACKET-FILTER", -1)
    await asyncio.to_thread(wait_for, lambda: lonely.role() == "slave")
    await asyncio.to_thread(cluster.wait_until_whole)
    for one in (*mine[:20], *acknowledged):
        assert await store.record(one.id, fresh=True) == one
    await alone.close()


class _Blind:
    """What sees the servers as they were."""

    def __init__(self, eye: Any) -> None:
        self._eye = eye

    async def look(self, at: Any) -> Any:
        raise redis.exceptions.ConnectionError("cut off")

    async def close(self) -> None:
        await self._eye.close()


async def test_a_cluster_of_which_nobody_answers(tmp_path):
    """One deadline for all that is tried; and it is found when it comes."""
    nodes = Cluster(tmp_path)
    one = Store(nodes.url, Settings(redis_url=nodes.url, store_timeout=1), Metrics())
    began = time.monotonic()
    for errand in (
        one.ping(),
        one.record(record().id),
        one.put(record(), STREAM, ()),
        one.catalogue.page(None, 1),
    ):
        with pytest.raises(StoreUnavailable):
            await errand
    assert time.monotonic() - began < 5
    try:
        await asyncio.to_thread(nodes.start)
        await one.put(record(), STREAM, ())
        assert await one.verify(record().id) == record()
    finally:
        await one.close()
        nodes.stop()


@pytest.mark.slow
@pytest.mark.parametrize("harm", ["kill", "hang"])
async def test_sentinels_promote_a_replica(tmp_path, harm):
    """Under load, twice: all that was acknowledged is there, and the store goes on by itself."""
    watched = Watched(tmp_path, PASSWORD)
    try:
        await asyncio.to_thread(watched.start)
        store = opened(watched.url, store_timeout=1)
        kept: list[Record] = []
        done = asyncio.Event()

        async def load(seed: int) -> None:
            for one in pictures(20_000, seed):
                if done.is_set():
                    return
                with suppress(StoreUnavailable):
                    await store.put(one, STREAM, ())
                    kept.append(one)
                await asyncio.sleep(0.01)

        loads = [asyncio.create_task(load(seed)) for seed in range(3)]
        for _ in range(2):
            await asyncio.sleep(0.5)
            old = watched.primary
            heir = next(server for server in watched.servers if server is not old)
            getattr(old, harm)()
            await asyncio.to_thread(wait_for, lambda heir=heir: watched.primary is heir)
            old.start() if harm == "kill" else old.go_on()
            await asyncio.to_thread(wait_for, lambda old=old: old.role() == "slave")
            before = len(kept)
            until = time.monotonic() + 30
            while len(kept) < before + 30 and time.monotonic() < until:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            assert len(kept) >= before + 30
        done.set()
        await asyncio.gather(*loads)
        for one in kept:
            assert await store.record(one.id, fresh=True) == one
        assert (await store.catalogue.page(None, 1))[0]
        await store.close()
    finally:
        watched.stop()


async def test_sentinels_need_not_all_answer(tmp_path):
    watched = Watched(tmp_path)
    try:
        await asyncio.to_thread(watched.start)
        watched.sentinels[0].kill()
        watched.sentinels[1].hang()
        store = Store(watched.url, Settings(redis_url=watched.url), Metrics())
        await store.put(record(), STREAM, ())
        assert await store.verify(record().id) == record()
        await store.close()
    finally:
        watched.stop()


@pytest.mark.parametrize("kind", ["redis", "cluster"])
async def test_connections_are_encrypted_and_who_answers_is_checked(tmp_path, kind):
    """Of one server, and of a cluster, whose nodes are found, and then asked, by TLS."""
    file, key = certificate(tmp_path)
    port = free_port()
    nodes = {"cluster_enabled": "yes", "cluster_announce_port": port, "cluster_port": free_port()}
    server = Server(tmp_path, requirepass=PASSWORD, **(nodes if kind == "cluster" else {}))
    scheme = "rediss" if kind == "redis" else "rediss+cluster"
    try:
        server.start()
        if kind == "cluster":
            server.client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            wait_for(lambda: server.client.execute_command("CLUSTER INFO")["cluster_state"] == "ok")
        async with encrypted(port, server.port, file, key):
            url = f"{scheme}://localhost:{port}"
            stranger = opened(url, store_replicas=0, store_timeout=2)
            with pytest.raises(StoreUnavailable):  # its certificate is nobody's
                await stranger.put(record(), STREAM, ())
            await stranger.close()
            store = opened(f"{url}?ssl_ca_certs={file}", store_replicas=0)
            await store.put(record(), STREAM, ())
            assert await store.verify(record().id) == record()
            await store.close()
            plain = opened(url.replace("rediss", "redis"), store_replicas=0, store_timeout=2)
            with pytest.raises(StoreUnavailable):
                await plain.ping()
            await plain.close()
    finally:
        server.kill()
