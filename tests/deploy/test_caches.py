"""Debian's Varnish and Caddy with the shipped configurations: Caddy before Varnish before a service."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from benchmarks.load.processes import free_port
from tests.deploy.caches import Caddy, Varnish
from tests.deploy.front import BROWSERS, OLDER
from tests.service.running import RunningService, seconds_until
from tests.service.samples import encoded, photo

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
GONE_SECONDS = 3.0
KEY = {"X-API-Key": "write"}


class Site:
    """A service behind Varnish behind Caddy. ``client`` speaks to Varnish, ``outside`` to Caddy."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        """``stack`` ends what is started."""
        port = free_port()
        purge = f"http://127.0.0.1:{port}/images/{{id}}"
        self.service = RunningService(folder / "service", api_keys="write", purge_url=purge)
        self.varnish = Varnish(folder / "varnish", port, self.service.port)
        self.caddy = Caddy(folder / "caddy", port)
        for program in (self.service, self.varnish, self.caddy):
            stack.callback(program.stop)
            program.start()
        self.client = stack.enter_context(httpx.Client(base_url=self.varnish.url, timeout=120))
        self.outside = stack.enter_context(httpx.Client(base_url=self.caddy.url, timeout=120))

    def upload(self, number: int) -> str:
        """Keep a picture from outside; returns its path."""
        data = encoded(photo(90, 60 + number), "PNG")
        answer = self.outside.post("/images", files={"file": data}, headers=KEY)
        assert answer.status_code in (200, 201), answer.text
        return f"/images/{answer.json()['id']}"

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        """Status of an answer, and what the cache had to do with it."""
        answer = self.outside.get(path, headers=headers)
        return answer.status_code, answer.headers.get("X-Cache", "")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(tmp_path_factory.mktemp("site"), stack)


def test_what_was_asked_before_comes_from_the_cache(site: Site) -> None:
    path = site.upload(0) + "?width=50&format=png"
    first, again = site.outside.get(path), site.outside.get(path)
    assert (first.headers["X-Cache"], again.headers["X-Cache"]) == ("MISS", "HIT")
    assert again.content == first.content
    assert "max-age=31536000" in again.headers["Cache-Control"]
    assert "X-Path" not in again.headers


def test_parameters_in_any_order_are_one_copy(site: Site) -> None:
    path = site.upload(1)
    canonical = site.outside.get(f"{path}?fit=cover&format=png&height=30&width=30")
    assert canonical.headers["X-Cache"] == "MISS"
    again = site.outside.get(f"{path}?width=30&height=30&fit=cover&format=png")
    assert (again.headers["X-Cache"], again.content) == ("HIT", canonical.content)


@pytest.mark.parametrize(("number", "browsers", "media"), [(2, BROWSERS, "avif"), (3, OLDER, "webp")])
def test_browsers_share_one_copy(site: Site, number: int, browsers: dict[str, str], media: str) -> None:
    path = site.upload(number) + "?width=50"
    answers = [site.outside.get(path, headers={"Accept": accept}) for accept in browsers.values()]
    assert [answer.headers["X-Cache"] for answer in answers] == ["MISS"] + ["HIT"] * (len(browsers) - 1)
    assert {answer.headers["Content-Type"] for answer in answers} == {f"image/{media}"}
    assert all("Accept" in answer.headers["Vary"] for answer in answers)  # for the caches of browsers
    for accept in ("image/png", "image/webp;q=0.5,image/avif;q=0.1", "image/jpeg"):
        answer = site.outside.get(path, headers={"Accept": accept})
        assert answer.headers["Content-Type"] == accept.split(";")[0]


def test_a_linked_data_answer_stays_one(site: Site) -> None:
    path = site.upload(4).replace("/images/", "/iiif/3/") + "/info.json"
    for accept in ("application/ld+json", "application/json", "application/ld+json"):
        answer = site.outside.get(path, headers={"Accept": accept})
        assert answer.headers["Content-Type"].startswith(accept)


def test_a_client_that_has_it_gets_304(site: Site) -> None:
    path = site.upload(5) + "?width=50&format=png"
    tag = site.outside.get(path).headers["ETag"]
    answer = site.outside.get(path, headers={"If-None-Match": tag})
    assert (answer.status_code, answer.content) == (304, b"")


def test_whoever_shows_a_key_or_wants_nothing_kept_asks_the_service(site: Site) -> None:
    path = site.upload(6) + "?width=50&format=png"
    for headers in (KEY, {"Authorization": "Bearer write"}, {"Cache-Control": "no-store"}):
        assert site.get(path, **headers) == (200, "MISS")
        assert site.get(path, **headers) == (200, "MISS")
    assert site.get(path) == (200, "MISS")
    assert site.get(path) == (200, "HIT")


@pytest.mark.parametrize("part", ["/stream", "?width=50&format=png"])
def test_ranges(site: Site, part: str) -> None:
    path = site.upload(7 + len(part)) + part
    whole = site.outside.get(path).content
    answer = site.outside.get(path, headers={"Range": "bytes=5-24"})
    assert (answer.status_code, answer.content) == (206, whole[5:25])
    assert answer.headers["Content-Range"] == f"bytes 5-24/{len(whole)}"


def test_what_is_missing_is_not_remembered(site: Site) -> None:
    path = site.upload(40)
    assert site.outside.delete(path, headers=KEY).status_code == 204
    query = f"{path}?width=50&format=png"
    assert site.get(query)[0] == 404
    assert site.upload(40) == path
    seconds_until(lambda: site.get(query)[0] == 200, GONE_SECONDS)


def test_a_deleted_picture_is_gone_after_its_purge(site: Site) -> None:
    path = site.upload(41)
    paths = [path + query for query in ("?width=50&format=png", "?width=60&format=webp", "/info", "/stream")]
    paths.append(path.replace("/images/", "/iiif/3/") + "/full/max/0/default.jpg")
    other = site.upload(42) + "?width=50&format=png"
    for one in (*paths, other):
        assert [site.get(one)[0] for _ in range(2)] == [200, 200]
    assert site.outside.delete(path, headers=KEY).status_code == 204
    seconds_until(lambda: all(site.get(one)[0] == 404 for one in paths), GONE_SECONDS)
    time.sleep(1.5)
    assert {site.get(one)[0] for one in paths} == {404}  # and nothing brings it back
    assert site.get(other) == (200, "HIT")
    assert site.service.metric("compass_purges_total", outcome="purged") >= 1
    assert site.service.metric("compass_purges_total", outcome="failed") == 0


def test_nobody_purges_from_outside(site: Site) -> None:
    path = site.upload(43)
    query = f"{path}?width=50&format=png"
    assert [site.get(query)[1] for _ in range(2)] == ["MISS", "HIT"]
    assert site.outside.request("PURGE", path).status_code == 405
    assert site.client.request("PURGE", path, headers={"X-Forwarded-For": "192.0.2.1"}).status_code == 405
    assert site.client.request("PURGE", "/images/.*").status_code == 400
    assert site.get(query)[1] == "HIT"
    assert site.client.request("PURGE", path).status_code == 200
    assert site.get(query)[1] == "MISS"


def test_uploads_may_be_as_large_as_the_service_allows(site: Site) -> None:
    headers = {**KEY, "Content-Type": "image/jpeg"}
    for size, status in ((64 << 20, 415), ((64 << 20) + 20_000, 413), (67_200_000, 413), (200 << 20, 413)):
        answer = site.outside.post("/images", content=bytes(size), headers=headers)
        assert answer.status_code == status, answer.text
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["status"] == status
    pieces = (bytes(1 << 20) for _ in range(66))  # no length is announced
    assert site.outside.post("/images", content=pieces, headers=headers).status_code in (413, 502)


def test_events_of_a_job_come_as_they_happen(site: Site) -> None:
    data = encoded(photo(1500, 1000, 9), "PNG")
    headers = {**KEY, "Prefer": "respond-async", "Content-Type": "image/png"}
    accepted = site.outside.post("/images", content=data, headers=headers)
    assert accepted.status_code == 202
    states = []
    with site.outside.stream("GET", f"/jobs/{accepted.json()['id']}/events", headers=KEY) as events:
        for line in events.iter_lines():
            if line.startswith("data: "):
                states.append((time.monotonic(), json.loads(line.removeprefix("data: "))["state"]))
    assert [state for _, state in states][-1] == "stored"
    assert states[0][1] == "working"
    assert states[0][0] < states[-1][0] - 0.1  # nobody has kept them back until the end


def test_metrics_are_not_published(site: Site) -> None:
    assert site.outside.get("/metrics", headers=KEY).status_code == 404


def test_without_the_service_clients_are_told_when_to_come_back(site: Site) -> None:
    path = site.upload(44)
    query = f"{path}?width=50&format=png"
    assert site.get(query)[0] == 200
    site.service.stop()
    assert site.get(query) == (200, "HIT")
    answer = site.outside.get(f"{path}?width=44&format=png")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["status"] == 503
    site.service.start()
    assert site.get(f"{path}?width=44&format=png")[0] == 200
