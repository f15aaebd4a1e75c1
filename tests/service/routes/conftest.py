"""The routes on a library that holds no pixels: requests are answered within milliseconds."""

from asyncio import Semaphore
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from service.app import create_app
from service.settings import Settings
from service.web.context import Context
from tests.service.fakes import FakeLibrary

Serve = Callable[..., tuple[httpx.AsyncClient, FakeLibrary]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Makes a client of the application with these settings, and the library behind it."""
    async with AsyncExitStack() as stack:

        def made(**settings: Any) -> tuple[httpx.AsyncClient, FakeLibrary]:
            chosen = Settings(**settings)
            app, library = create_app(chosen), FakeLibrary(chosen)
            app.state.context = Context(
                chosen,
                library.metrics,
                library.store,
                library.pool,
                library,
                Semaphore(chosen.max_uploads),
            )
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            client = httpx.AsyncClient(transport=transport, base_url="http://test")
            stack.push_async_callback(client.aclose)
            return client, library

        yield made
