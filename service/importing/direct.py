"""Uploads that go to an engine and a store at once, for who has both: what HTTP is to other clients."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from threading import Thread
from typing import TypeVar, Unpack

from service.client.api import ClientError, Coding, Progress, Refused, StoredPicture
from service.engine.choice import engine_of
from service.errors import Overloaded, ServiceError, StoreUnavailable, WorkerFailed
from service.library import Keeping, Library
from service.metrics import Metrics
from service.settings import Settings
from service.storage.by_hand import open_store
from service.storage.jobs import Stage
from service.storage.originals import originals_of
from service.storage.records import Record

AGAIN_SECONDS = 2.0
"""A store or an engine that is away is tried again after so long."""

_PERCENT: dict[Stage, int] = {"waiting": 0, "coding": 0, "storing": 95, "done": 100}

R = TypeVar("R")


class Direct:
    """Keeps pictures in the store that the settings name, coded by the engine that they name; as
    :class:`service.client.api.Client` does, and for any number of threads.
    """

    def __init__(self, library: Library, loop: asyncio.AbstractEventLoop) -> None:
        """``loop`` runs in another thread."""
        self._library = library
        self._loop = loop
        settings = library.settings
        self.url = settings.redis_url or f"file://{settings.data.resolve()}"

    def find_service(self) -> None:
        """Return if the store answers. Raises ClientError."""
        try:
            self._wait(self._library.store.ping)
        except ServiceError as error:
            raise ClientError(0, "no store", error.detail) from error

    def upload(
        self,
        picture: Path,
        *,
        name: str | None = None,
        progress: Callable[[Progress], None] | None = None,
        **coding: Unpack[Coding],
    ) -> StoredPicture:
        """Store a picture; again changes nothing. A store or an engine that is away, or full, is waited for.

        Raises Refused, or OSError if the file cannot be read.
        """
        data, limit = picture.read_bytes(), self._library.settings.max_upload_bytes
        if len(data) > limit:
            raise Refused(413, "Too large", f"{len(data)} bytes; the limit is {limit}")

        def told(stage: Stage, cost: float) -> None:
            if progress is not None:
                progress(Progress(stage, _PERCENT[stage]))

        how = coding.get("quality"), coding.get("widths"), coding.get("max_width")
        wishes = coding.get("focus"), coding.get("metadata"), coding.get("frame")
        keeping = Keeping.wished(*wishes, name)
        keep = partial(self._library.keep, data, *how, told=told, keeping=keeping)
        try:
            return self._wait(lambda: self._kept(keep))
        except ServiceError as error:
            raise Refused(error.status, error.title, error.detail) from error

    async def _kept(self, keep: Callable[[], Awaitable[tuple[Record, bool]]]) -> StoredPicture:
        while True:
            try:
                record, _ = await keep()
            except (StoreUnavailable, WorkerFailed) as error:
                if isinstance(error, WorkerFailed) and self._library.engine.ready:
                    raise  # a worker was there, and could not
                await asyncio.sleep(AGAIN_SECONDS)
            except Overloaded as error:
                await asyncio.sleep(error.retry_after or AGAIN_SECONDS)
            else:
                top, facts = record.header.sizes[-1], record.facts
                return StoredPicture(
                    *(record.id, f"/images/{record.id}", top.width, top.height),
                    *(record.bytes, facts.source_bytes, "", {}),
                )

    def _wait(self, work: Callable[[], Awaitable[R]]) -> R:
        """What work gives that is done in the loop's thread."""

        async def done() -> R:
            return await work()

        return asyncio.run_coroutine_threadsafe(done(), self._loop).result()


@contextmanager
def direct(settings: Settings) -> Iterator[Direct]:
    """Store and engine, started and ended. Raises a ServiceError."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever, daemon=True)
    thread.start()
    parts = _library(settings)
    try:
        library = asyncio.run_coroutine_threadsafe(parts.__aenter__(), loop).result()
        try:
            yield Direct(library, loop)
        finally:
            asyncio.run_coroutine_threadsafe(parts.__aexit__(None, None, None), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@asynccontextmanager
async def _library(settings: Settings) -> AsyncIterator[Library]:
    async with AsyncExitStack() as stack:
        store = await open_store(settings, stack, create=True)
        engine = engine_of(settings)
        stack.push_async_callback(engine.stop)
        await engine.start()
        yield Library(settings, store, engine, Metrics(), originals_of(settings, store))
