"""Work is given up when its client leaves, and only then."""

import asyncio
from typing import Any

import pytest
from fastapi import Request

from service.web.connection import ClientGone, while_connected


def request(*messages: dict[str, Any]) -> Request:
    """A request whose client sends these messages, and then nothing for ever."""
    waiting = list(messages)

    async def receive() -> dict[str, Any]:
        if not waiting:
            await asyncio.Event().wait()
        return waiting.pop(0)

    return Request({"type": "http", "headers": []}, receive)


async def test_the_result_comes_while_the_client_waits() -> None:
    async def work() -> int:
        await asyncio.sleep(0)
        return 7

    assert await while_connected(request({"type": "http.request"}), work()) == 7


async def test_an_error_comes_as_it_is() -> None:
    async def work() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await while_connected(request(), work())


async def test_work_ends_when_the_client_leaves() -> None:
    cancelled = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with pytest.raises(ClientGone):
        await while_connected(request({"type": "http.disconnect"}), work())
    async with asyncio.timeout(5):
        await cancelled.wait()


async def test_work_that_is_done_counts_though_the_client_leaves_at_that_moment() -> None:
    async def work() -> int:
        return 7

    assert await while_connected(request({"type": "http.disconnect"}), work()) == 7
