"""What tests of the storage share: a second client of the store, and originals in a bucket."""

from collections.abc import AsyncIterator

import pytest
import redis.asyncio as redis

from service.settings import Settings
from service.storage.originals import Originals, originals_of
from service.storage.store import Store
from service.storage.valkey import EmbeddedValkey
from tests.service.buckets import Buckets


@pytest.fixture
async def raw(valkey: EmbeddedValkey) -> AsyncIterator[redis.Redis]:
    """A plain client of the same server, to break things with."""
    client = redis.Redis(unix_socket_path=str(valkey.socket))
    yield client
    await client.aclose()


@pytest.fixture
def address(buckets: Buckets) -> str:
    """The address of an empty bucket."""
    return buckets.bucket()


@pytest.fixture
def originals(address: str, store: Store) -> Originals:
    """Originals of the store under test, in that bucket."""
    made = originals_of(Settings(originals=address, object_timeout=5), store)
    assert made is not None
    return made
