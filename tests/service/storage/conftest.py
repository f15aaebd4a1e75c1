"""A second client of the store under test."""

from collections.abc import AsyncIterator

import pytest
import redis.asyncio as redis

from service.storage.valkey import EmbeddedValkey


@pytest.fixture
async def raw(valkey: EmbeddedValkey) -> AsyncIterator[redis.Redis]:
    """A plain client of the same server, to break things with."""
    client = redis.Redis(unix_socket_path=str(valkey.socket))
    yield client
    await client.aclose()
