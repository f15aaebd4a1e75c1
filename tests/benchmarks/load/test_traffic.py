"""The load generator and the plain server of the serving benchmark."""

import os
import random
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from io import BytesIO

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Response
from PIL import Image

from benchmarks.load.plain_server import keep, resize
from benchmarks.load.prober import ask, probing
from benchmarks.load.processes import Watch, alive, unix_sockets
from benchmarks.load.traffic import Shot, Stored, Traffic, closed_loop, fire, open_loop, outcomes, percentile


def jpeg(width: int = 64, height: int = 48) -> bytes:
    out = BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert("RGB").save(out, "jpeg")
    return out.getvalue()


@pytest.fixture
def traffic() -> Traffic:
    pictures = [Stored(f"picture{n}", 1000, 700) for n in range(5)]
    return Traffic(pictures, [jpeg()], random.Random(7))


@pytest.fixture
def server() -> Iterator[str]:
    """A real server on the loopback: /ok answers, /busy refuses, everything else is not there."""
    app = FastAPI()

    @app.get("/ok")
    async def ok() -> Response:
        return Response(b"body", headers={"Compass-Bytes-Read": "12", "Compass-Bytes-Stored": "34"})

    @app.get("/busy", status_code=429)
    async def busy() -> None:
        return None

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        running = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
        thread.start()
        while not running.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        running.should_exit = True
        thread.join()


def test_percentiles() -> None:
    values = [float(n) for n in range(100, 0, -1)]
    assert percentile(values, 0.5) == 51
    assert percentile(values, 0.99) == 100
    assert percentile([3.0], 0.99) == 3
    assert percentile([], 0.5) is None


def test_traffic_is_mixed_as_it_should_be(traffic: Traffic) -> None:
    shots = [traffic.draw() for _ in range(4000)]
    uploads = [shot for shot in shots if shot.route == "upload"]
    assert 300 < len(uploads) < 500
    reads = [shot.path for shot in shots if shot.route == "read"]
    by_picture = [sum(f"picture{n}?" in path for path in reads) for n in range(5)]
    assert by_picture == sorted(by_picture, reverse=True)
    assert all(64 <= int(path.split("=")[1]) <= 1000 for path in reads)
    assert {shot.accept for shot in shots if shot.route == "read"} > {"image/jpeg"}


def test_every_upload_is_another_one_of_the_same_pixels(traffic: Traffic) -> None:
    traffic.upload_share = 1
    bodies = [traffic.draw().body for _ in range(20)]
    assert len(set(bodies)) == 20
    for body in bodies:
        assert body is not None
        with Image.open(BytesIO(body)) as picture, Image.open(BytesIO(jpeg())) as original:
            assert picture.tobytes() == original.tobytes()


async def test_a_hit_tells_what_came_back(server: str) -> None:
    async with httpx.AsyncClient(base_url=server) as client:
        hit = await fire(client, Shot("read", "/ok"), time.perf_counter())
        assert (hit.status, hit.body, hit.read, hit.stored) == (200, b"body", 12, 34)
    async with httpx.AsyncClient(base_url="http://127.0.0.1:1") as client:
        assert (await fire(client, Shot("read", "/ok"), time.perf_counter())).status == 0


async def test_requests_are_fired_whether_or_not_they_are_answered(server: str) -> None:
    paths = iter(["/ok", "/busy", "/nothing"] * 1000)
    async with httpx.AsyncClient(base_url=server) as client:
        hits = await open_loop(client, lambda: Shot("read", next(paths)), 50, 1, random.Random(3))
        assert await closed_loop(client, lambda: Shot("read", "/ok"), 2, 0.2) > 0
    counts = outcomes(hits, "read")
    assert set(counts) == {200, 404, 429}
    assert 25 < sum(counts.values()) < 90


def test_another_process_probes_meanwhile(server: str, traffic: Traffic) -> None:
    with probing(int(server.rsplit(":", 1)[1]), traffic) as probes:
        time.sleep(1)
        assert probes.hits == []
    assert {"health", "read"} <= {hit.shot.route for hit in probes.hits}
    assert {hit.status for hit in probes.hits} <= {404, 405}  # this server has no such routes
    assert all(0 < hit.seconds < 30 for hit in probes.hits)


def test_probes_of_no_server_are_no_answers(traffic: Traffic) -> None:
    assert ask(1, traffic.draw()).status == 0


def test_the_plain_server_keeps_and_resizes() -> None:
    stored, width, height = keep(jpeg(200, 100))
    assert (width, height) == (200, 100)
    for name in ("avif", "webp", "jpeg"):
        with Image.open(BytesIO(resize(stored, 50, name))) as picture:
            assert (picture.format or "").lower() == name
            assert picture.size == (50, 25)
    with Image.open(BytesIO(resize(stored, 999, "jpeg"))) as picture:
        assert picture.size == (200, 100)


def test_cpu_seconds_are_counted_from_the_first_look() -> None:
    watch = Watch()
    watch.note("http", 1, 10.0)
    watch.note("worker", 2, 5.0)
    watch.note("worker", 3, 7.0)
    watch.note("http", 1, 10.5)
    watch.note("worker", 2, 8.0)
    assert watch.cpu() == {"http": 0.5, "worker": 3.0, "store": 0.0}


def test_open_unix_sockets_and_ended_processes_are_seen() -> None:
    before = unix_sockets(os.getpid())
    pair = socket.socketpair()
    assert unix_sockets(os.getpid()) == before + 2
    for end in pair:
        end.close()
    assert unix_sockets(os.getpid()) == before
    with subprocess.Popen(["sleep", "60"]) as process:
        assert alive(process.pid)
        process.kill()
    assert not alive(process.pid)
