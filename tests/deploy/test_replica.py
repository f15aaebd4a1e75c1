"""docs/deployment.md: a second server with all that the first has, which takes its place by hand."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.errors import StoreUnavailable
from service.metrics import Metrics
from service.settings import Settings
from service.storage.store import Store
from tests.deploy.shipped import SERVICES, ShippedRedis, expanded
from tests.service.servers import wait_for
from tests.service.storage.samples import STREAM, record

FAILOVER = {"REDIS_PRIMARY": "", "REDIS_NEW_PRIMARY": "redis-replica 6379"}
"""What is put into .env when ``redis`` is lost."""


class Pair:
    """The services ``redis`` and ``redis-replica``, each with the role that docker-compose.yml gives it."""

    def __init__(self, folder: Path) -> None:
        self._servers = {}
        for name in ("redis", "redis-replica"):
            (folder / name / "data").mkdir(parents=True)
            self._servers[name] = ShippedRedis(folder / name / "data")
        self.first, self.second = self._servers.values()

    def start(self, name: str, **environment: str) -> None:
        """Start a service with this in .env."""
        primary = expanded(SERVICES[name]["environment"]["REDIS_PRIMARY"], **environment)
        for other, server in self._servers.items():
            primary = primary.replace(f"{other} 6379", f"127.0.0.1 {server.port}")
        self._servers[name].start(primary)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """A primary and its replica, as the profile starts them."""
    servers = Pair(tmp_path)
    servers.start("redis")
    servers.start("redis-replica")
    wait_for(lambda: linked(servers.second, servers.first))
    yield servers
    for server in (servers.first, servers.second):
        server.stop()


def linked(replica: ShippedRedis, primary: ShippedRedis) -> bool:
    """Whether a replica has what its primary has, and the primary knows."""
    there = replica.client.info("replication").get("master_link_status") == "up"
    return there and primary.client.info("replication").get("slave0", {}).get("state") == "online"


def opened(server: ShippedRedis, replicas: int) -> Store:
    """What a service has of a server."""
    settings = Settings(redis_url=server.url, store_replicas=replicas, store_timeout=3)
    return Store(server.url, settings, Metrics())


async def test_the_replica_takes_the_place_of_the_primary_and_stays_there(pair):
    first, second = pair.first, pair.second
    store = opened(first, 1)
    kept = await store.put(record(0), STREAM, ())
    await store.close()
    first.stop()
    second.stop()
    pair.start("redis-replica", **FAILOVER)
    store = opened(second, 1)
    assert await store.verify(kept.id) == kept
    with pytest.raises(StoreUnavailable, match="0 of 1"):  # it is alone now
        await store.put(record(1), STREAM, ())
    await store.close()
    store = opened(second, 0)
    alone = await store.put(record(2), STREAM, ())
    await store.close()

    pair.start("redis", **FAILOVER)  # as `docker compose up -d` does, whatever it was told to start
    second.stop()
    pair.start("redis-replica", **FAILOVER)
    wait_for(lambda: linked(first, second))
    store = opened(second, 1)
    assert await store.verify(alone.id) == alone
    new = await store.put(record(3), STREAM, ())
    await store.close()
    for picture in (kept, alone, new):
        assert first.client.get(f"{{{picture.id}}}:stream") == STREAM
