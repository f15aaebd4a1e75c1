"""Connections to a real uvicorn: dropped when no request comes or nothing is read, and only then."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from service.errors import ServiceError
from service.web.sending import BodyResponse, Outgoing
from service.web.stalls import dropping_after
from service.web.uploads import Incoming

SECONDS = 0.5
MIN_RATE = 2**18
"""Bytes a second that a client has to take in."""
LARGE = 64 * 2**20
"""Bytes of an answer that no socket's buffers hold."""
GET = b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n"


async def large(request: Request) -> Response:
    outgoing: Outgoing = request.app.state.outgoing
    return BodyResponse(b"x" * LARGE, outgoing)


async def slow(request: Request) -> Response:
    await asyncio.sleep(4 * SECONDS)
    return PlainTextResponse("done")


async def body(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


async def upload(request: Request) -> Response:
    incoming: Incoming = request.app.state.incoming
    try:
        async with incoming.body(request) as data:
            await request.app.state.done.wait()
            return PlainTextResponse(str(len(data)))
    except ServiceError as error:
        return PlainTextResponse(str(error), error.status)


@pytest.fixture
async def server() -> AsyncIterator[uvicorn.Server]:
    app = Starlette(
        routes=[Route(f"/{f.__name__}", f, methods=["GET", "POST"]) for f in (large, slow, body, upload)]
    )
    app.state.incoming = Incoming(3000, 2000, 60, min_rate=1000, window=SECONDS)
    app.state.done = asyncio.Event()
    app.state.outgoing = Outgoing(3 * LARGE)
    config = uvicorn.Config(app, http=dropping_after(SECONDS, MIN_RATE), lifespan="off", log_config=None)
    running = uvicorn.Server(config)
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**16)
    serving = asyncio.create_task(running.serve([listening]))
    while not running.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    yield running
    running.should_exit = True
    await serving


async def connect(server: uvicorn.Server) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that takes in little before it is read."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, server.servers[0].sockets[0].getsockname())
    return await asyncio.open_connection(sock=sock, limit=4096)


async def dropped(server: uvicorn.Server) -> None:
    """Returns when the server has no connection any more."""
    async with asyncio.timeout(60):
        while server.server_state.connections:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("start", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n"])
async def test_a_request_whose_headers_never_end(server: uvicorn.Server, start: bytes) -> None:
    reader, writer = await connect(server)
    writer.write(start)
    async with asyncio.timeout(60):
        assert await reader.read() == b""
    writer.close()


async def test_headers_that_trickle_in_do_not_count(server: uvicorn.Server) -> None:
    """The second request of a connection, after one that was answered."""
    reader, writer = await connect(server)
    writer.write(GET % b"body")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    writer.write(b"GET / HTTP/1.1\r\n")
    async with asyncio.timeout(60):
        while server.server_state.connections:
            writer.write(b"X: y\r\n")
            await asyncio.sleep(0.05)
    writer.close()


async def test_an_answer_that_is_not_read(server: uvicorn.Server) -> None:
    reader, writer = await connect(server)
    writer.write(GET % b"large")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    await dropped(server)
    writer.close()


async def test_an_answer_that_is_read_slowly_arrives_whole(server: uvicorn.Server) -> None:
    reader, writer = await connect(server)
    writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    received = 0
    for _ in range(200):  # over four looks
        received += len(await reader.read(2**16))
        await asyncio.sleep(SECONDS / 50)
    assert server.server_state.connections
    while part := await reader.read(2**20):
        received += len(part)
    assert received > LARGE
    writer.close()


async def test_an_answer_that_is_sipped_is_dropped(server: uvicorn.Server) -> None:
    """At a sixth of the least rate the client takes in something at every look, and for ever."""
    reader, writer = await connect(server)
    writer.write(GET % b"large")
    received = 0
    async with asyncio.timeout(20 * SECONDS):
        while part := await reader.read(2048):
            received += len(part)
            await asyncio.sleep(0.05)
    assert received < LARGE
    writer.close()


async def test_a_connection_holds_little_of_a_large_answer(server: uvicorn.Server) -> None:
    reader, writer = await connect(server)
    writer.write(GET % b"large")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    (connection,) = server.server_state.connections
    for _ in range(20):
        assert connection.transport.get_write_buffer_size() < 256 * 1024
        await reader.read(4096)
        await asyncio.sleep(0.01)
    writer.close()


async def test_for_too_many_unsent_answers_the_slowest_are_dropped(server: uvicorn.Server) -> None:
    """Three may be on their way: of five readers the two slowest make room, and the newest gets all of it."""
    slow_ones = []
    for _ in range(4):
        reader, writer = await connect(server)
        writer.write(GET % b"large")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        slow_ones.append((reader, writer))
        await asyncio.sleep(0.02)
    outgoing: Outgoing = server.config.app.state.outgoing  # type: ignore[union-attr]
    assert outgoing.unsent <= 3 * LARGE
    reader, writer = await connect(server)
    writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    received = 0
    while part := await reader.read(2**20):
        received += len(part)
    assert received > LARGE
    assert outgoing.unsent <= 3 * LARGE
    for _, one in [*slow_ones, (reader, writer)]:
        one.close()
    await dropped(server)
    assert outgoing.unsent == 0


@pytest.mark.parametrize(
    "request_bytes", [GET % b"slow", b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n"]
)
async def test_work_and_bodies_are_left_alone(server: uvicorn.Server, request_bytes: bytes) -> None:
    reader, writer = await connect(server)
    writer.write(request_bytes)
    if b"POST" in request_bytes:
        for _ in range(4):
            await asyncio.sleep(SECONDS)
            writer.write(b"x")
    async with asyncio.timeout(60):
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    writer.close()


POST = b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"


async def status(reader: asyncio.StreamReader) -> int:
    async with asyncio.timeout(60):
        return int((await reader.readline()).split()[1])


async def test_an_upload_that_dribbles_is_ended(server: uvicorn.Server) -> None:
    """A byte now and then is not enough, however soon the whole would have to be there."""
    reader, writer = await connect(server)
    writer.write(POST % 1500 + b"x" * 600)
    answer = asyncio.create_task(status(reader))
    while not answer.done():
        writer.write(b"x")
        await asyncio.sleep(0.05)
    assert await answer == 408
    writer.close()


async def test_uploads_in_memory_are_bounded_together(server: uvicorn.Server) -> None:
    """As long as they are used, not only while they arrive."""
    server.config.app.state.done.clear()  # type: ignore[union-attr]
    first, writer = await connect(server)
    writer.write(POST % 1600 + b"x" * 1600)
    await asyncio.sleep(0.2)
    second, other = await connect(server)
    other.write(POST % 1600 + b"x" * 1600)
    assert await status(second) == 429
    server.config.app.state.done.set()  # type: ignore[union-attr]
    assert await status(first) == 200
    third, last = await connect(server)
    last.write(POST % 1600 + b"x" * 1600)
    assert await status(third) == 200
    for one in (writer, other, last):
        one.close()
