"""Fixtures: the store as docker-compose.yml runs it, and a service that uses it."""

from collections.abc import Iterator

import pytest

from tests.deploy.shipped import ShippedRedis
from tests.service.running import RunningService


@pytest.fixture(scope="package")
def shipped_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShippedRedis]:
    """A running server with the shipped configuration."""
    server = ShippedRedis(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="package")
def deployed(
    shipped_redis: ShippedRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningService]:
    """A service that stores in that server."""
    with RunningService(
        tmp_path_factory.mktemp("deployed"), redis_url=shipped_redis.url, metrics_keys="watch"
    ) as service:
        yield service
