"""Fixtures: one real service for all tests that do not break it, and a store of its own."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from service.metrics import Metrics
from service.settings import Settings
from service.storage.store import Store
from service.storage.valkey import EmbeddedValkey
from tests.service.running import RunningService
from tests.service.samples import encoded, photo


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A running service with one worker, shared: leave it as it was."""
    running = RunningService(tmp_path_factory.mktemp("service"), max_upload_bytes=8 * 2**20)
    try:
        yield running.start()
    finally:
        running.stop()


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


@pytest.fixture
async def store(valkey: EmbeddedValkey) -> AsyncIterator[Store]:
    """An empty store."""
    opened = Store(valkey.url, Settings(), Metrics())
    yield opened
    await opened.close()
