"""docs/deployment.md: a second server with all that the first has, which takes its place by hand."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.errors import StoreUnavailable
from service.metrics import Metrics
from service.settings import Settings
from service.storage.store import Store
from tests.deploy.shipped import ShippedRedis
from tests.service.servers import wait_for
from tests.service.storage.samples import STREAM, record


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[ShippedRedis, ShippedRedis]]:
    """A primary and its replica, as the profile starts them."""
    for name in ("first", "second"):
        (tmp_path / name / "redis").mkdir(parents=True)
    first = ShippedRedis(tmp_path / "first/redis")
    second = ShippedRedis(tmp_path / "second/redis", first)
    first.start()
    second.start()
    wait_for(lambda: linked(second))
    yield first, second
    for server in (first, second):
        server.stop()


def linked(replica: ShippedRedis) -> bool:
    """Whether a replica has what its primary has."""
    return replica.client.info("replication").get("master_link_status") == "up"


def opened(server: ShippedRedis, replicas: int) -> Store:
    """What a service has of a server."""
    settings = Settings(redis_url=server.url, store_replicas=replicas, store_timeout=1)
    return Store(server.url, settings, Metrics())


async def test_the_replica_takes_the_place_of_the_primary_and_back(pair):
    first, second = pair
    store = opened(first, 1)
    kept = await store.put(record(0), STREAM, ())
    await store.close()
    first.stop()
    second.client.execute_command("REPLICAOF", "NO", "ONE")
    store = opened(second, 1)
    assert await store.verify(kept.id) == kept
    with pytest.raises(StoreUnavailable, match="0 of 1"):  # it is alone now
        await store.put(record(1), STREAM, ())
    first.start()
    first.client.execute_command("REPLICAOF", "127.0.0.1", second.port)
    wait_for(lambda: linked(first))
    new = await store.put(record(2), STREAM, ())
    assert first.client.get(f"{{{new.id}}}:stream") == STREAM
    await store.close()
