"""So many requests a minute for each client, and no client pays for another."""

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from service.web.rates import CLIENTS, RateLimited


async def answer(request: Request) -> Response:
    return PlainTextResponse("here")


class World:
    """An application whose clock is moved by hand, and clients of it."""

    def __init__(self) -> None:
        self.now = 0.0
        app = Starlette(routes=[Route("/", answer), Route("/healthz", answer)])
        self.limited = RateLimited(app, per_minute=6, clock=lambda: self.now)

    async def get(self, host: str, path: str = "/") -> httpx.Response:
        transport = httpx.ASGITransport(self.limited, client=(host, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get(path)


@pytest.fixture
def world() -> World:
    return World()


async def test_a_client_is_refused_until_it_has_waited(world):
    answers = [await world.get("192.0.2.1") for _ in range(7)]
    assert [one.status_code for one in answers] == [200] * 6 + [429]
    assert answers[0].headers["ratelimit-policy"] == '"client";q=6;w=60'
    assert answers[0].headers["ratelimit"] == '"client";r=5;t=10'
    assert answers[6].headers["ratelimit"] == '"client";r=0;t=60'
    assert answers[6].headers["retry-after"] == "10"
    assert answers[6].headers["content-type"] == "application/problem+json"
    world.now = 9.9
    assert (await world.get("192.0.2.1")).status_code == 429
    world.now = 10.1
    assert (await world.get("192.0.2.1")).status_code == 200
    assert (await world.get("192.0.2.1")).status_code == 429


async def test_others_are_served_and_health_is_told(world):
    for _ in range(9):
        await world.get("2001:db8::1")
    assert (await world.get("2001:db8::2")).status_code == 429  # the same customer
    assert (await world.get("2001:db8:0:1::1")).status_code == 200
    assert (await world.get("192.0.2.1")).status_code == 200
    assert (await world.get("2001:db8::1", "/healthz")).status_code == 200


async def test_clients_of_ipv4_at_a_socket_of_ipv6_are_each_their_own(world):
    for _ in range(6):
        await world.get("::ffff:192.0.2.1")
    assert (await world.get("::ffff:192.0.2.2")).status_code == 200
    assert (await world.get("192.0.2.1")).status_code == 429  # the same client at another socket


async def test_memory_is_bounded(world):
    for number in range(CLIENTS + 10):
        world.limited._buckets[str(number)] = 1.0, 0.0
    await world.get("192.0.2.1")
    assert len(world.limited._buckets) == CLIENTS
