"""Parts of the serving benchmark, on small servers; the whole of it takes minutes."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from fastapi import FastAPI, Response

from benchmarks.load import serve
from benchmarks.load.prober import Probes
from benchmarks.load.traffic import Traffic
from model.stream.container import CodedLayer, write

STREAM = write(b"no model", 256, [CodedLayer(40, 30, 80, bytes(64), [bytes(100)])])


async def test_only_the_time_in_which_requests_are_offered_counts(
    server: str, traffic: Traffic, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def slow(port: int, traffic: Traffic) -> Iterator[Probes]:
        """As slow to start and to end as a process that imports much."""
        time.sleep(3)
        yield Probes()
        time.sleep(3)

    monkeypatch.setattr(serve, "probing", slow)
    async with httpx.AsyncClient(base_url=server) as client:
        run = await serve.one_run(client, os.getpid(), traffic, "some", rate=20.0, seconds=0.5)
    assert (run.name, run.offered) == ("some", 20.0)
    assert run.hits
    assert 0.4 < run.seconds < 3


async def test_lost_and_damaged_pictures_are_told() -> None:
    app = FastAPI()
    kept = {"whole": STREAM, "damaged": STREAM[:-1] + bytes([STREAM[-1] ^ 1]), "torn": STREAM[:-3]}

    @app.get("/images/{name}/stream")
    async def stream(name: str) -> Response:
        return Response(kept[name]) if name in kept else Response(status_code=404)

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        found, failures = await serve.read_back(client, ["whole", "damaged", "torn", "lost"])
    assert found == {"whole": STREAM}
    assert [failure.split(":")[0] for failure in failures] == ["damaged", "torn", "lost"]
    assert "404" in failures[-1]
