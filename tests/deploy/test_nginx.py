"""Debian's nginx with the shipped configuration before two front ends that share a store."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.deploy.front import BROWSERS, OLDER
from tests.deploy.nginx import Nginx
from tests.service.running import RunningService
from tests.service.samples import encoded, photo

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
GONE_SECONDS = 3.0
KEY = {"X-API-Key": "write"}


class Site:
    """Two front ends, and nginx before them."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        """``stack`` ends what is started."""
        store = f"unix://{folder}/one/data/valkey.sock"
        self.fronts = [
            RunningService(folder / "one", api_keys="write"),
            RunningService(folder / "two", api_keys="write", redis_url=store),
        ]
        for front in self.fronts:
            front.launch()
            stack.callback(front.stop)
            front.wait_until_ready()
        self.nginx = Nginx(folder, [front.port for front in self.fronts])
        stack.callback(self.nginx.stop)
        self.nginx.start()
        self.client = stack.enter_context(httpx.Client(base_url=self.nginx.url, timeout=120))

    def upload(self, number: int, width: int = 90) -> str:
        """Keep a picture by way of nginx; returns its path."""
        data = encoded(photo(width, 60 + number), "PNG")
        answer = self.client.post("/images", files={"file": data}, headers=KEY)
        assert answer.status_code in (200, 201), answer.text
        return f"/images/{answer.json()['id']}"

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        """Status of an answer, and what the cache had to do with it."""
        answer = self.client.get(path, headers=headers)
        return answer.status_code, answer.headers.get("X-Cache", "")

    def requests(self) -> list[float]:
        """How many pictures each front end was asked for."""
        return [
            front.metric("compass_requests_total", route="/images/{picture}", method="GET")
            for front in self.fronts
        ]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(tmp_path_factory.mktemp("site"), stack)


def test_nginx_accepts_what_is_shipped(tmp_path: Path) -> None:
    said = Nginx(tmp_path, [1, 2]).check()
    assert "warn" not in said


def test_what_was_asked_before_comes_from_the_cache(site: Site) -> None:
    path = site.upload(0) + "?width=50&format=png"
    first = site.client.get(path)
    again = site.client.get(path)
    assert (first.headers["X-Cache"], again.headers["X-Cache"]) == ("MISS", "HIT")
    assert again.content == first.content
    assert "max-age=31536000" in again.headers["Cache-Control"]  # for browsers, as the front end says


def test_after_a_second_it_is_asked_whether_it_is_still_right(site: Site) -> None:
    path = site.upload(1) + "?width=50&format=png"
    first = site.client.get(path)
    time.sleep(2.1)
    sent = sum(front.metric("compass_bytes_served_total") for front in site.fronts)
    again = site.client.get(path)
    assert (again.headers["X-Cache"], again.content) == ("REVALIDATED", first.content)
    assert sum(front.metric("compass_bytes_served_total") for front in site.fronts) == sent
    assert site.get(path)[1] == "HIT"


def test_a_picture_has_one_front_end_and_pictures_are_spread(site: Site) -> None:
    paths = [site.upload(number) for number in range(2, 14)]
    shares = []
    for path in paths:
        before = site.requests()
        for width in range(30, 36):
            assert site.get(f"{path}?width={width}&format=png")[0] == 200
        shares.append([now - then for now, then in zip(site.requests(), before, strict=True)])
    assert sorted(map(max, shares)) == [6] * len(paths)
    assert {share.index(6) for share in shares} == {0, 1}


def test_formats_that_accept_chose_are_kept_apart(site: Site) -> None:
    path = site.upload(14) + "?width=50"
    for _ in range(2):
        for accept in ("image/webp", "image/png"):
            answer = site.client.get(path, headers={"Accept": accept})
            assert answer.headers["Content-Type"] == accept
    assert answer.headers["X-Cache"] == "HIT"


@pytest.mark.parametrize(("number", "browsers", "media"), [(50, BROWSERS, "avif"), (51, OLDER, "webp")])
def test_browsers_share_one_copy(site: Site, number: int, browsers: dict[str, str], media: str) -> None:
    path = site.upload(number) + "?width=50"
    coding = {"Accept-Encoding": "gzip, deflate, br, zstd"}
    answers = [site.client.get(path, headers={"Accept": accept, **coding}) for accept in browsers.values()]
    assert [answer.headers["X-Cache"] for answer in answers] == ["MISS"] + ["HIT"] * (len(browsers) - 1)
    assert {answer.headers["Content-Type"] for answer in answers} == {f"image/{media}"}
    assert {answer.headers["Vary"] for answer in answers} == {"Accept"}  # for the caches of browsers
    assert site.client.get(path, headers={"Accept": "image/png"}).headers["Content-Type"] == "image/png"


def test_a_description_is_kept_with_and_without_gzip(site: Site) -> None:
    path = site.upload(52) + "/info"
    for coding in ("gzip, br", "identity"):
        for _ in range(2):
            answer = site.client.get(path, headers={"Accept-Encoding": coding})
            assert answer.headers.get("Content-Encoding", "identity") == coding.split(",")[0]
            assert answer.json()["width"] == 90


def test_uploads_may_be_as_large_as_the_service_allows(site: Site) -> None:
    headers = {**KEY, "Content-Type": "image/jpeg"}
    for size, status in ((64 << 20, 415), ((64 << 20) + 1, 413), (66 << 20, 413)):
        answer = site.client.post("/images", content=bytes(size), headers=headers)
        assert answer.status_code == status
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["status"] == status


def test_a_client_that_has_it_gets_304(site: Site) -> None:
    path = site.upload(15) + "?width=50&format=png"
    tag = site.client.get(path).headers["ETag"]
    answer = site.client.get(path, headers={"If-None-Match": tag})
    assert (answer.status_code, answer.content) == (304, b"")


def test_whoever_shows_a_key_or_wants_nothing_kept_asks_the_front_end(site: Site) -> None:
    path = site.upload(16) + "?width=50&format=png"
    for headers in (KEY, {"Authorization": "Bearer write"}, {"Cache-Control": "no-store"}):
        assert site.get(path, **headers) == (200, "BYPASS")
        assert site.get(path, **headers) == (200, "BYPASS")
    assert site.get(path) == (200, "MISS")


def test_head_is_not_answered_with_a_decoding(site: Site) -> None:
    path = site.upload(17) + "?width=50&format=png"
    renders = sum(front.metric("compass_renders_total") for front in site.fronts)
    assert site.client.head(path).status_code == 200
    assert sum(front.metric("compass_renders_total") for front in site.fronts) == renders


def test_a_range_of_a_stream(site: Site) -> None:
    path = site.upload(18) + "/stream"
    whole = site.client.get(path).content
    answer = site.client.get(path, headers={"Range": "bytes=5-24"})
    assert (answer.status_code, answer.content) == (206, whole[5:25])


def test_a_deleted_picture_is_gone_everywhere_within_three_seconds(site: Site) -> None:
    path = site.upload(19)
    queries = ("?width=50&format=png", "?width=60&format=webp", "/info", "/stream")
    for query in queries:
        assert site.get(path + query)[0] == 200
    for front in site.fronts:
        assert front.client.get(f"{path}?width=44").status_code == 200
    assert site.fronts[1].client.delete(path, headers=KEY).status_code == 204
    start = time.monotonic()
    while any(site.get(path + query)[0] != 404 for query in queries):
        assert time.monotonic() - start < GONE_SECONDS
    for front in site.fronts:
        assert front.client.get(f"{path}?width=44").status_code == 404
    assert time.monotonic() - start < GONE_SECONDS
    time.sleep(1.5)
    assert [site.get(path + query)[0] for query in queries] == [404] * 4  # and nothing brings it back


def test_metrics_are_not_published(site: Site) -> None:
    assert site.get("/metrics")[0] == 404


def test_without_a_front_end_its_pictures_come_from_the_other(site: Site) -> None:
    paths = [site.upload(number) for number in range(20, 26)]
    site.fronts[1].kill_everything()
    for number, path in enumerate(paths):
        assert site.get(f"{path}?width=50&format=png")[0] == 200
        site.upload(30 + number)
    site.fronts[1].start()


def test_without_any_front_end_clients_are_told_when_to_come_back(site: Site) -> None:
    path = site.upload(40)
    for front in reversed(site.fronts):
        front.stop()
    answer = site.client.get(path)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["status"] == 503
    for front in site.fronts:
        front.start()
    time.sleep(2.1)  # so long nginx asks nobody that did not answer
    assert site.get(path)[0] == 200
