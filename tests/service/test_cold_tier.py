"""A running service whose large layers lie in a bucket that is slow, wrong, cut short or away."""

import time
from collections.abc import Iterator

import pytest

from tests.service.buckets import CREDENTIALS, SLOW_SECONDS, Buckets
from tests.service.running import RunningService
from tests.service.samples import encoded, photo

pytestmark = pytest.mark.slow
UNKEPT = {"Cache-Control": "no-store"}


@pytest.fixture(scope="module")
def cold(
    shared_buckets: Buckets, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[RunningService, dict, dict]]:
    """A service, a picture as it was described before the move, and its streams of then, by width."""
    running = RunningService(
        tmp_path_factory.mktemp("cold"),
        cold=shared_buckets.bucket(),
        cold_width=60,
        cold_seconds=0,
        s3_endpoint=shared_buckets.endpoint,
        object_timeout=5,
        cache_bytes=0,
        worker_cache_bytes=0,
    )
    with pytest.MonkeyPatch.context() as patched:
        for name, value in CREDENTIALS.items():
            patched.setenv(name, value)
        running.start()
    try:
        picture = running.upload(encoded(photo(200, 150, 3), "PNG"), widths="50,100", quality=60)
        before = {
            width: running.client.get(f"{picture['url']}/stream?width={width}").content
            for width in (50, 100, 200)
        }
        until = time.monotonic() + 60
        while running.metric("compass_cold_moved_pictures_total") < 1:
            assert time.monotonic() < until, running.log
            time.sleep(0.2)
        yield running, picture, before
    finally:
        running.stop()


def answer(service, picture, width):
    return service.client.get(f"{picture['url']}?width={width}&format=png", headers=UNKEPT)


def test_all_sizes_are_answered_as_before(cold, buckets):
    service, picture, before = cold
    for width, stream in before.items():
        assert service.client.get(f"{picture['url']}/stream?width={width}").content == stream
        assert answer(service, picture, width).status_code == 200
    assert service.client.get(f"{picture['url']}/info").json() == picture
    part = service.client.get(f"{picture['url']}/stream", headers={"Range": "bytes=300-"})
    assert part.content == before[200][300:]
    assert service.metric("compass_cold_moved_bytes_total") == len(before[200]) - len(before[50])
    assert service.metric("compass_store_up") == 1


@pytest.mark.parametrize(("fault", "status"), [("away", 503), ("error", 503), ("cut", 503), ("wrong", 500)])
def test_small_widths_go_on_whatever_the_bucket_does(cold, buckets, fault, status):
    service, picture, before = cold
    with buckets.being(fault):
        for width in (100, 200):
            found = answer(service, picture, width)
            assert found.status_code == status
            assert found.headers["content-type"] == "application/problem+json"
            assert service.client.get(f"{picture['url']}/stream?width={width}").status_code == status
        assert answer(service, picture, 50).status_code == 200
        assert service.client.get(f"{picture['url']}/stream?width=50").content == before[50]
        assert service.client.get("/readyz").status_code == 200
    assert answer(service, picture, 200).status_code == 200


def test_a_slow_bucket_is_waited_for(cold, buckets):
    service, picture, _ = cold
    with buckets.being("slow"):
        start = time.monotonic()
        assert answer(service, picture, 200).status_code == 200
        assert time.monotonic() - start >= SLOW_SECONDS
        asked = len(buckets.asked)
        assert answer(service, picture, 40).status_code == 200
        assert len(buckets.asked) == asked  # nobody asks it for a small width


def test_a_deleted_picture_leaves_nothing(cold, buckets):
    service, _, _ = cold
    address = str(service._settings["cold"])
    before = buckets.keys(address)
    moved = service.metric("compass_cold_moved_pictures_total")
    picture = service.upload(encoded(photo(200, 150, 4), "PNG"), widths="50,100")
    while service.metric("compass_cold_moved_pictures_total") == moved:
        time.sleep(0.2)
    assert len(buckets.keys(address)) == len(before) + 1
    assert service.client.delete(picture["url"]).status_code == 204
    assert buckets.keys(address) == before
