"""A refined stream takes the place of the first while it is read: every answer is of one of them."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
from asyncio import Semaphore
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from model.stream.container import CodedLayer, read_header, write
from service.app import create_app
from service.errors import StoreUnavailable
from service.library import Library
from service.metrics import Metrics
from service.planning.identity import stream_tag
from service.settings import Settings
from service.storage import fsck
from service.storage.records import Facts, Record
from service.storage.store import Store
from service.storage.valkey import EmbeddedValkey
from service.web.context import Context
from service.web.jobs import Jobs
from service.web.repeats import Repeats
from service.web.sending import Outgoing
from service.web.uploads import incoming_of
from tests.service.conftest import store_of
from tests.service.running import ROOT
from tests.service.test_library import Workers

NAME = "a" * 32
UPLOAD = b"the upload's own bytes"
FACTS = Facts(1000.5, source_bytes=len(UPLOAD), source_format="PNG", quality=75, alpha=(7, 8))
PLANES = (b"plane 0", b"plane 01")


def coded(letter: bytes, size: int) -> bytes:
    layers = [
        CodedLayer(64, 48, 75, b"hyper", [letter * (size // 2)]),
        CodedLayer(128, 96, 75, b"hyper", [letter * size]),
    ]
    return write(b"model-id", 256, layers)


OLD, NEW = coded(b"o", 5000), coded(b"n", 4000)
TAGS = {stream_tag(read_header(stream), 1): stream for stream in (OLD, NEW)}


@pytest.fixture
async def other(valkey: EmbeddedValkey) -> AsyncIterator[Store]:
    """The store of another service, which refines."""
    async with store_of(valkey) as opened:
        yield opened


@pytest.fixture
async def client(store: Store) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a service whose workers answer ten bytes, and whose picture is stored as OLD."""
    settings, metrics, workers = Settings(), Metrics(), Workers()
    app, outgoing = create_app(settings), Outgoing(settings.unsent_bytes)
    library = Library(settings, store, workers, metrics)
    app.state.context = Context(
        settings,
        metrics,
        store,
        workers,
        library,
        upload_slots=Semaphore(4),
        incoming=incoming_of(settings),
        outgoing=outgoing,
        repeats=Repeats(library, outgoing, settings.repeats_bytes),
        presets={},
        jobs=Jobs(store.jobs, settings.drain_seconds, metrics),
    )
    app.state.workers = workers
    await store.put(Record(NAME, read_header(OLD), FACTS), OLD, PLANES, UPLOAD)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as opened:
        opened.headers["X-Test"] = "replacement"
        opened.app = app  # type: ignore[attr-defined]
        yield opened


async def refine(store: Store, stream: bytes = NEW) -> None:
    """Put ``stream`` in the place of what is stored."""
    record = await store.record(NAME, fresh=True)
    if NAME not in await store.waiting.pictures():
        await store.offer(record, UPLOAD)
    taken, _ = await store.waiting.take(NAME)
    assert taken is not None
    assert await store.replace(taken, record, stream, "fast") is not None


async def test_a_range_that_goes_on_across_a_replacement_gets_the_whole_new_stream(
    client: httpx.AsyncClient, other: Store
) -> None:
    """Also while this service still believes in the old one."""
    first = await client.get(f"/images/{NAME}/stream", headers={"Range": "bytes=0-999"})
    assert (first.status_code, first.content) == (206, OLD[:1000])
    await refine(other)
    rest = {"Range": "bytes=1000-", "If-Range": first.headers["etag"]}
    answer = await client.get(f"/images/{NAME}/stream", headers=rest)
    assert (answer.status_code, answer.content) == (200, NEW)
    assert answer.headers["etag"] == stream_tag(read_header(NEW), 1) != first.headers["etag"]
    rest["If-Range"] = answer.headers["etag"]
    again = await client.get(f"/images/{NAME}/stream", headers=rest)
    assert (again.status_code, again.content) == (206, NEW[1000:])
    known = await client.get(f"/images/{NAME}/stream", headers={"If-None-Match": first.headers["etag"]})
    assert known.status_code == 200


async def test_a_picture_has_another_tag_and_is_made_of_the_new_stream(
    client: httpx.AsyncClient, other: Store
) -> None:
    workers = client.app.state.workers  # type: ignore[attr-defined]
    url = f"/images/{NAME}?width=128&format=webp"
    first = await client.get(url)
    assert workers.renders[-1].stream == OLD
    await refine(other)
    await asyncio.sleep(0)
    larger = await client.get(f"/images/{NAME}?width=120&format=webp")  # with the old record, not in memory
    assert larger.status_code == 200
    assert workers.renders[-1].stream == NEW
    second = await client.get(url)
    assert second.headers["etag"] != first.headers["etag"]
    assert workers.renders[-1].stream == NEW
    assert workers.renders[-1].key != workers.renders[0].key  # workers keep layers under it
    stale = await client.get(url, headers={"If-None-Match": first.headers["etag"]})
    assert stale.status_code == 200
    info = (await client.get(f"/images/{NAME}/info")).json()
    assert info["refined"] == {"effort": "fast", "before_bytes": len(OLD) + 15}
    assert info["bytes"] == len(NEW) + 15
    assert (await client.get("/metrics")).text.count("compass_damaged_streams_total 0.0") == 1


async def test_iiif_is_made_of_the_new_stream_too(client: httpx.AsyncClient, other: Store) -> None:
    workers = client.app.state.workers  # type: ignore[attr-defined]
    await client.get(f"/images/{NAME}/info")
    await refine(other)
    answer = await client.get(f"/iiif/3/{NAME}/full/max/0/default.jpg")
    assert answer.status_code == 200
    assert workers.renders[-1].stream == NEW


async def test_every_answer_is_of_one_stream(client: httpx.AsyncClient, other: Store) -> None:
    """Readers and replacements fall in time as they like."""
    done = asyncio.Event()
    answers: list[httpx.Response] = []

    async def read() -> None:
        while not done.is_set():
            answers.append(await client.get(f"/images/{NAME}/stream"))
            await asyncio.sleep(0)

    readers = [asyncio.create_task(read()) for _ in range(4)]
    for turn in range(100):
        await refine(other, NEW if turn % 2 == 0 else OLD)
        await asyncio.sleep(0.005)
    done.set()
    await asyncio.gather(*readers)
    assert {answer.headers.get("etag") for answer in answers} == set(TAGS)
    for answer in answers:
        assert answer.status_code == 200
        assert answer.content == TAGS[answer.headers["etag"]]
        assert int(answer.headers["content-length"]) == len(answer.content)


WRITER = """
import asyncio, sys
from service.metrics import Metrics
from service.settings import Settings
from service.storage.store import Store
from tests.service.test_replacement import LARGE, NAME, UPLOAD

async def main():
    store = Store(sys.argv[1], Settings(store_timeout=30), Metrics())
    print("ready", flush=True)
    while True:
        record = await store.record(NAME, fresh=True)
        await store.offer(record, UPLOAD)
        taken, _ = await store.waiting.take(NAME)
        if taken is not None:
            now = await store.prefix(record, 1)
            await store.replace(taken, record, LARGE[now == LARGE[0]], "fast")

asyncio.run(main())
"""
LARGE = coded(b"o", 2_000_000), coded(b"n", 1_500_000)
MOMENTS = 50


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("services", [1, 2])
def test_kill_9_at_any_moment_leaves_the_old_or_the_new_stream(services: int) -> None:
    """Of who replaces, and of the store itself every other time."""
    chance = random.Random(services)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COMPASS_")}
    environment["PYTHONPATH"] = str(ROOT)
    seen: set[bytes] = set()

    async def whole(store: Store) -> bytes:
        async with asyncio.timeout(60):
            while True:
                try:
                    record = await store.verify(NAME)
                    stream = await store.prefix(record, 1)
                except StoreUnavailable:  # it has not been started again yet
                    await asyncio.sleep(0.05)
                    continue
                return stream

    async def run(folder: Path) -> None:
        server = EmbeddedValkey(folder)
        await server.start()
        store = Store(server.url, Settings(), Metrics())
        await store.put(Record(NAME, read_header(LARGE[0]), FACTS), LARGE[0], PLANES)
        for moment in range(MOMENTS):
            command = [sys.executable, "-c", WRITER, server.url]
            writers = [
                subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE)  # noqa: ASYNC220
                for _ in range(services)
            ]
            for writer in writers:
                assert writer.stdout is not None
                assert await asyncio.to_thread(writer.stdout.readline) == b"ready\n"
            await asyncio.sleep(chance.uniform(0.01, 0.15))
            victims = [writer.pid for writer in writers]
            if moment % 2:
                assert server._process is not None
                victims.insert(chance.randrange(len(victims) + 1), server._process.pid)
            for pid in victims:
                os.kill(pid, signal.SIGKILL)
            for writer in writers:
                await asyncio.to_thread(writer.wait)
                writer.stdout.close()  # type: ignore[union-attr]
            stream = await whole(store)
            assert stream in LARGE
            seen.add(stream[:200])
            record = await store.record(NAME, fresh=True)
            assert [await store.alpha(record, k) for k in range(2)] == list(PLANES)
            assert [found.id for found in (await store.catalogue.page(None, 9))[0]] == [NAME]
        assert await fsck.check(store, delete=False) == 0
        await store.close()
        await server.stop()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder)))
    assert len(seen) == 2
