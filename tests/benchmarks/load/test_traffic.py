"""The load generator of the serving benchmark."""

import random
import time
from io import BytesIO

import httpx
import pytest
from PIL import Image

from benchmarks.load.traffic import (
    Hit,
    Shot,
    Traffic,
    closed_loop,
    fire,
    insist,
    open_loop,
    outcomes,
    percentile,
)
from tests.benchmarks.load.conftest import jpeg


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


def test_failed_requests_do_not_count_as_measured() -> None:
    shot = Shot("read", "/r")
    insist([Hit(shot, 200, 0.1), Hit(shot, 201, 0.1)])
    for status in (0, 304, 429, 503):
        with pytest.raises(RuntimeError, match="/r"):
            insist([Hit(shot, 200, 0.1), Hit(shot, status, 0.1)])


async def test_requests_are_fired_whether_or_not_they_are_answered(server: str) -> None:
    paths = iter(["/ok", "/busy", "/nothing"] * 1000)
    async with httpx.AsyncClient(base_url=server) as client:
        hits = await open_loop(client, lambda: Shot("read", next(paths)), 50, 1, random.Random(3))
        rate, answers = await closed_loop(client, lambda: Shot("read", "/ok"), 2, 0.2)
    assert rate > 0
    assert {(hit.good, hit.body) for hit in answers} == {(True, b"body")}
    counts = outcomes(hits, "read")
    assert set(counts) == {200, 404, 429}
    assert 25 < sum(counts.values()) < 90
