"""Fixtures: what the shared service holds, a store of its own, and routes alone."""

from asyncio import Semaphore
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis.asyncio as redis

from service.app import create_app
from service.metrics import Metrics
from service.routes.parameters import presets_of
from service.settings import Settings
from service.storage.store import Store
from service.storage.valkey import EmbeddedValkey
from service.web.context import Context
from service.web.jobs import Jobs
from service.web.repeats import Repeats
from service.web.sending import Outgoing
from service.web.uploads import incoming_of
from tests.service.fakes import Board, FakeLibrary
from tests.service.running import RunningService
from tests.service.samples import encoded, photo

Serve = Callable[..., tuple[httpx.AsyncClient, FakeLibrary]]


@pytest.fixture(scope="session")
def photo_file() -> bytes:
    """A PNG of 200 x 150 pixels."""
    return encoded(photo(200, 150), "PNG")


@pytest.fixture(scope="session")
def stored(service: RunningService, photo_file: bytes) -> dict[str, Any]:
    """What the shared service says of the photo, kept with layers 50, 100 and 200 wide."""
    return service.upload(photo_file, widths="50,100")


@pytest.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[EmbeddedValkey]:
    """A running embedded Valkey."""
    server = EmbeddedValkey(tmp_path)
    await server.start()
    yield server
    await server.stop()


@asynccontextmanager
async def store_of(valkey: EmbeddedValkey) -> AsyncIterator[Store]:
    """What one service has of a Valkey."""
    opened = Store(valkey.url, Settings(), Metrics())
    yield opened
    await opened.close()


@pytest.fixture
async def store(valkey: EmbeddedValkey) -> AsyncIterator[Store]:
    """An empty store."""
    async with store_of(valkey) as opened:
        yield opened


@pytest.fixture
async def raw(valkey: EmbeddedValkey) -> AsyncIterator[redis.Redis]:
    """A plain client of the same server, to break things with."""
    client = redis.Redis(unix_socket_path=str(valkey.socket))
    yield client
    await client.aclose()


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Makes a client of the routes with these settings, and the library without pixels behind them."""
    async with AsyncExitStack() as stack:

        def made(**settings: Any) -> tuple[httpx.AsyncClient, FakeLibrary]:
            chosen = Settings(**settings)
            app, library = create_app(chosen), FakeLibrary(chosen)
            outgoing = Outgoing(chosen.unsent_bytes)
            app.state.context = Context(
                chosen,
                library.metrics,
                library.store,
                library.engine,
                library,
                upload_slots=Semaphore(chosen.max_uploads),
                incoming=incoming_of(chosen),
                outgoing=outgoing,
                repeats=Repeats(library, outgoing, chosen.repeats_bytes),
                presets=presets_of(chosen.presets),
                jobs=Jobs(Board(), chosen.drain_seconds, library.metrics),
            )
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            client = httpx.AsyncClient(transport=transport, base_url="http://test")
            stack.push_async_callback(client.aclose)
            return client, library

        yield made
