"""What the benchmark of HTTP asks and counts, on real servers."""

import shutil

import httpx
import pytest

from benchmarks.load.bare_server import TAG, application
from benchmarks.load.http import CONNECTIONS, ask, get, nginx
from benchmarks.load.processes import free_port


async def test_the_bare_route_answers_with_its_bytes() -> None:
    transport = httpx.ASGITransport(application(b"12345"))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.get("/images/x?width=320")
    assert (answer.content, answer.headers["etag"]) == (b"12345", TAG)


def test_requests_are_counted_on_connections_that_stay_open(server: str) -> None:
    port = int(server.rsplit(":", 1)[1])
    done = ask(port, get("/ok"), 0.2)
    assert done >= CONNECTIONS
    assert done % CONNECTIONS == 0


def test_only_the_answers_that_are_expected_are_counted(server: str) -> None:
    port = int(server.rsplit(":", 1)[1])
    with pytest.raises(ConnectionError, match="429"):
        ask(port, get("/busy"), 0.2)
    assert ask(port, get("/busy"), 0.2, status=429) >= CONNECTIONS


def test_a_request_is_what_browsers_send() -> None:
    request = get("/images/x?width=1", "If-None-Match: a")
    assert request.startswith(b"GET /images/x?width=1 HTTP/1.1\r\nHost: localhost\r\n")
    assert b"\r\nIf-None-Match: a\r\n" in request
    assert request.endswith(b"\r\n\r\n")


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
def test_nginx_sends_the_same_bytes() -> None:
    port = free_port()
    with nginx(port, b"12345"):
        answer = httpx.get(f"http://127.0.0.1:{port}/images/x?width=320")
    assert (answer.content, answer.headers["content-type"]) == (b"12345", "image/avif")
