"""A store with originals, and a second one to restore into."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio as redis

from service.metrics import Metrics
from service.settings import Settings
from service.storage.objects import Objects
from service.storage.originals import Originals, originals_of
from service.storage.records import Record
from service.storage.store import Store
from service.storage.valkey import EmbeddedValkey
from tests.service.storage.samples import PLANES, STREAM, record


@dataclass
class Place:
    """A store and its originals, and a plain client to break things with."""

    store: Store
    originals: Originals
    raw: redis.Redis

    async def put(self, number: int, kept: bool = True, **facts: Any) -> Record:
        """Store a picture with transparency; every second has the upload of the one before."""
        data = b"upload %d" % (number // 2)
        digest = sha256(data).hexdigest() if kept else ""
        new = record(number, alpha=(7, 8), original=digest, source_bytes=len(data), **facts)
        if kept:
            await self.originals.keep(new.id, digest, data)
        return await self.store.put(new, STREAM, PLANES)

    async def all(self) -> dict[str, object]:
        """Everything stored, with its original, by picture."""
        found: dict[str, object] = {}
        async for one in self.store.catalogue.all_records():
            digest = one.facts.original
            whole = await self.store.whole(one.id)
            found[one.id] = whole, await self.originals.read(digest) if digest else None
        return found


Make = Callable[[str], Awaitable[Place]]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    """Makes stores."""
    ends: list[Callable[[], Awaitable[None]]] = []

    async def made(name: str) -> Place:
        valkey = EmbeddedValkey(tmp_path / name)
        await valkey.start()
        settings = Settings(originals=f"file://{tmp_path}/{name}/originals")
        store = Store(valkey.url, settings, Metrics())
        raw = redis.Redis(unix_socket_path=str(valkey.socket))
        ends.extend((valkey.stop, store.close, raw.aclose))
        originals = originals_of(settings, store)
        assert originals is not None
        return Place(store, originals, raw)

    yield made
    for end in reversed(ends):
        await end()


@pytest.fixture
async def place(make: Make) -> Place:
    """A store with originals."""
    return await make("first")


@pytest.fixture(params=["file", "s3"])
def target(request: pytest.FixtureRequest, tmp_path: Path, buckets: object) -> Objects:
    """Where backups lie."""
    address = f"file://{tmp_path}/backup"
    if request.param == "s3":
        address = request.getfixturevalue("buckets").bucket()
    return Objects(address, Settings(object_timeout=5))
