"""Purging a cache in front, by a real HTTP server that stands for one."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from service import purge as module
from service.metrics import Metrics
from service.purge import Purge
from tests.service.engine.test_pool import until


class Cache:
    """Answers PURGE with the next of ``statuses``, or 200, and remembers what was asked."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.asked: list[str] = []
        cache = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_PURGE(self) -> None:
                cache.asked.append(self.path)
                self.send_response(cache.statuses.pop(0) if cache.statuses else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Be quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/images/{{id}}*"
        Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def cache() -> Iterator[Cache]:
    made = Cache()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def purge(cache: Cache, metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Purge]:
    monkeypatch.setattr(module, "PAUSES", (0.01, 0.01))
    made = Purge(cache.url, metrics)
    task = asyncio.create_task(made.for_ever())
    yield made
    task.cancel()


async def counted(metrics: Metrics, purged: int, failed: int) -> None:
    """Wait until so many pictures were purged, and so many were not."""

    def count(outcome: str) -> float | None:
        return metrics.registry.get_sample_value("compass_purges_total", {"outcome": outcome})

    await until(lambda: (count("purged"), count("failed")) == (purged, failed))


async def test_each_picture_is_purged(cache: Cache, purge: Purge, metrics: Metrics) -> None:
    purge.ask(["a", "b"])
    await counted(metrics, 2, 0)
    assert sorted(cache.asked) == ["/images/a*", "/images/b*"]


async def test_a_cache_that_has_nothing_of_it_is_right(cache: Cache, purge: Purge, metrics: Metrics) -> None:
    cache.statuses = [404]
    purge.ask(["a"])
    await counted(metrics, 1, 0)


async def test_a_cache_that_fails_is_asked_again(cache: Cache, purge: Purge, metrics: Metrics) -> None:
    cache.statuses = [500, 503]
    purge.ask(["a"])
    await counted(metrics, 1, 0)
    assert cache.asked == ["/images/a*"] * 3


async def test_a_cache_that_refuses_is_told_of(
    cache: Cache, purge: Purge, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    cache.statuses = [405, 405, 405]
    purge.ask(["a"])
    await counted(metrics, 0, 1)
    assert "may still have a," in caplog.text
    purge.ask(["b"])  # it goes on
    await counted(metrics, 1, 1)


async def test_nobody_there_is_told_of(cache: Cache, purge: Purge, metrics: Metrics) -> None:
    cache.server.shutdown()
    cache.server.server_close()
    purge.ask(["a"])
    await counted(metrics, 0, 1)


async def test_too_many_are_counted_as_not_purged(
    cache: Cache, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST", 2)
    Purge(cache.url, metrics).ask(["a", "b", "c"])
    await counted(metrics, 0, 1)
