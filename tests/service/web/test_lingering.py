"""A client that sends on while it is answered reads its answer, whole and in time."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from service.web import lingering
from service.web.lingering import LingeringProtocol

BODY = 4 * 2**20
"""Bytes, more than sockets hold."""


async def refused(scope: Scope, receive: Receive, send: Send) -> None:
    headers = [(b"content-length", b"5"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": b"large"})


@pytest.fixture
async def server() -> AsyncIterator[uvicorn.Server]:
    config = uvicorn.Config(refused, http=LingeringProtocol, lifespan="off", log_config=None)
    running = uvicorn.Server(config)
    serving = asyncio.create_task(running.serve([socket.create_server(("127.0.0.1", 0))]))
    while not running.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    yield running
    running.should_exit = True
    await serving


async def nobody_connected(server: uvicorn.Server) -> None:
    while server.server_state.connections:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)


async def begin(server: uvicorn.Server, length: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection on which an upload of that many bytes was announced."""
    reader, writer = await asyncio.open_connection(*server.servers[0].sockets[0].getsockname())
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % length)
    return reader, writer


async def send_for_ever(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(bytes(2**16))
        await writer.drain()


async def test_who_sends_all_first_reads_the_answer(server: uvicorn.Server) -> None:
    reader, writer = await begin(server, BODY)
    for _ in range(64):
        writer.write(bytes(BODY // 64))
        await writer.drain()
        await asyncio.sleep(0.005)
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 413")
    assert answer.endswith(b"\r\n\r\nlarge")
    writer.close()


async def test_the_answer_ends_before_the_body_does(server: uvicorn.Server) -> None:
    reader, writer = await begin(server, BODY)
    assert (await asyncio.wait_for(reader.read(), 2)).endswith(b"large")
    assert server.server_state.connections
    writer.close()
    await nobody_connected(server)


async def test_who_never_ends_is_dropped(server: uvicorn.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lingering, "LINGER_SECONDS", 0.3)
    _, writer = await begin(server, 2**40)
    with pytest.raises(ConnectionError):
        await send_for_ever(writer)
    await nobody_connected(server)


async def test_a_request_without_a_body_is_closed_at_once(server: uvicorn.Server) -> None:
    reader, writer = await begin(server, 0)
    assert (await reader.read()).endswith(b"large")
    assert not server.server_state.connections
    writer.close()


async def test_nothing_is_served_after_the_last_answer(server: uvicorn.Server) -> None:
    reader, writer = await begin(server, 4)
    answer = await reader.read()
    writer.write(b"bodyGET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.count(b"HTTP/1.1 413") == 1
    assert await reader.read() == b""
    writer.close()
