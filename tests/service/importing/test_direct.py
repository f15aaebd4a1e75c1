"""Uploads without a service: a real store, and workers that answer as the test says."""

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from service.client.api import ClientError, Refused
from service.errors import BadPicture, Overloaded, StoreUnavailable, WorkerFailed
from service.importing import direct as module
from service.importing.direct import Direct
from service.library import Library
from service.metrics import Metrics
from service.settings import Settings
from service.storage.store import Store
from tests.service.engine.test_pool import until
from tests.service.test_library import Workers

R = TypeVar("R")


class Crew(Workers):
    """Workers who may be away."""

    ready = True


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Crew:
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0.01)
    return Crew()


@pytest.fixture
async def uploads(store: Store, workers: Crew) -> Direct:
    library = Library(Settings(max_upload_bytes=1000), store, workers, Metrics())
    return Direct(library, asyncio.get_running_loop())


async def threaded(work: Callable[[], R]) -> R:
    """As the import does it, in another thread than the loop's."""
    return await asyncio.to_thread(work)


def file(folder: Path, data: bytes = b"upload") -> Path:
    path = folder / "picture.png"
    path.write_bytes(data)
    return path


async def test_a_picture_is_in_the_store(uploads: Direct, store: Store, tmp_path: Path) -> None:
    await threaded(uploads.find_service)
    kept = await threaded(lambda: uploads.upload(file(tmp_path), quality=70, name="by the\nsea"))
    record = await store.record(kept.id)
    assert (kept.width, kept.height, kept.bytes, kept.source_bytes) == (100, 80, record.bytes, 6)
    assert (record.facts.quality, record.facts.name) == (70, "by the sea")


async def test_what_is_wished_for_is_part_of_a_picture(uploads: Direct, store: Store, tmp_path: Path) -> None:
    wished = partial(uploads.upload, file(tmp_path), focus=(0.25, 0.5), metadata="copyright", frame=0)
    kept, plain = await threaded(wished), await threaded(lambda: uploads.upload(file(tmp_path)))
    assert (await store.record(kept.id)).facts.focus == (0.25, 0.5)
    assert kept.id != plain.id


async def test_the_same_again_is_not_coded_again(uploads: Direct, workers: Crew, tmp_path: Path) -> None:
    first, again = [await threaded(lambda: uploads.upload(file(tmp_path))) for _ in range(2)]
    assert first == again
    assert len(workers.uploads) == 1


async def test_bad_pictures_and_large_files_are_refused(
    uploads: Direct, workers: Crew, tmp_path: Path
) -> None:
    workers.failure = BadPicture("no picture")
    with pytest.raises(Refused, match="no picture"):
        await threaded(lambda: uploads.upload(file(tmp_path)))
    with pytest.raises(Refused) as refused:
        await threaded(lambda: uploads.upload(file(tmp_path, bytes(1001))))
    assert refused.value.status == 413


async def test_a_cluster_without_workers_is_waited_for(
    uploads: Direct, workers: Crew, tmp_path: Path
) -> None:
    workers.ready = False
    workers.failure = WorkerFailed("no worker of the cluster is ready")
    waiting = asyncio.create_task(threaded(lambda: uploads.upload(file(tmp_path))))
    await until(lambda: len(workers.uploads) > 3)
    workers.failure = None
    assert (await waiting).width == 100


async def test_a_full_queue_is_waited_for(uploads: Direct, workers: Crew, tmp_path: Path) -> None:
    workers.failure = Overloaded("16 jobs wait already", 0.01)
    waiting = asyncio.create_task(threaded(lambda: uploads.upload(file(tmp_path))))
    await until(lambda: waiting.done() or len(workers.uploads) > 3)
    workers.failure = None
    assert (await waiting).width == 100


async def test_a_worker_that_cannot_is_not_waited_for(uploads: Direct, workers: Crew, tmp_path: Path) -> None:
    workers.failure = WorkerFailed("the worker ended before it answered")
    with pytest.raises(Refused, match="ended"):
        await threaded(lambda: uploads.upload(file(tmp_path)))


async def test_without_a_store_nothing_begins(
    uploads: Direct, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away() -> None:
        raise StoreUnavailable("the store does not answer")

    monkeypatch.setattr(store, "ping", away)
    with pytest.raises(ClientError, match="no store"):
        await threaded(uploads.find_service)
