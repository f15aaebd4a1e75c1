"""HEAD where only GET has a route: the headers of GET's answer, and nothing is made that nobody gets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from service.web.methods import Methods


def application(**endpoints: Callable[[Request], Awaitable[Response]]) -> Starlette:
    """One with these addresses, which know GET and nothing else."""
    routes = [Route(f"/{name}", endpoint, methods=["GET"]) for name, endpoint in endpoints.items()]
    for route in routes:
        route.methods = {"GET"}  # Starlette adds HEAD, and FastAPI does not
    return Starlette(routes=routes, middleware=[Middleware(Methods, routes=routes)])


async def head(app: Starlette, path: str) -> httpx.Response:
    async with asyncio.timeout(30), httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
        return await client.head(f"http://test{path}")


class World:
    """An application with an answer that ends and one that does not; ``open`` counts those under way."""

    def __init__(self) -> None:
        self.open = 0
        self.app = application(short=self.short, endless=self.endless)

    async def short(self, request: Request) -> Response:
        return PlainTextResponse("short", headers={"ETag": '"tag"'})

    async def endless(self, request: Request) -> Response:
        return StreamingResponse(self._parts(), media_type="text/event-stream")

    async def _parts(self) -> AsyncIterator[str]:
        self.open += 1
        try:
            while True:
                yield "part"
                await asyncio.sleep(0.01)
        finally:
            self.open -= 1


@pytest.fixture
def world() -> World:
    return World()


async def test_the_headers_of_an_answer_that_ends_are_those_of_get(world: World) -> None:
    answer = await head(world.app, "/short")
    assert answer.status_code == 200
    assert (answer.headers["content-length"], answer.headers["etag"]) == ("5", '"tag"')


async def test_an_endless_answer_ends_after_its_headers(world: World) -> None:
    answer = await head(world.app, "/endless")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert "content-length" not in answer.headers
    assert world.open == 0


async def test_an_error_before_the_headers_is_told_as_ever() -> None:
    async def fail(request: Request) -> Response:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await head(application(fail=fail), "/fail")
