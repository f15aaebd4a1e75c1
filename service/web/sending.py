"""Bodies of answers on their way to clients: in pieces, and not too many bytes of them in memory."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from fastapi import Response
from starlette.types import Receive, Scope, Send

PIECE = 64 * 1024
"""Bytes that are handed to a connection at a time; it asks for more when it has sent most of them."""

log = logging.getLogger("compass")


@dataclass(eq=False)
class _Sending:
    """A body under way, and the task that sends it."""

    body: bytes
    task: "asyncio.Task[object]"
    began: float = field(default_factory=time.monotonic)
    sent: int = 0
    dropped: bool = False

    @property
    def speed(self) -> float:
        """Bytes a second, kindly rounded while it has hardly begun."""
        return (self.sent + PIECE) / max(1.0, time.monotonic() - self.began)


class Outgoing:
    """All bodies under way, together at most ``limit`` bytes; a body sent to several counts once.

    Where a further one would be too much, those that are taken in most slowly are dropped. A body larger
    than the limit is sent alone.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._sending: list[_Sending] = []

    @property
    def unsent(self) -> int:
        """Bytes of the bodies that are held for clients."""
        return sum({id(one.body): len(one.body) for one in self._sending if not one.dropped}.values())

    async def send(self, body: bytes, send: Send) -> None:
        """Send a body in pieces, each when the client has taken in most of the one before.

        Returns early, the answer incomplete, if it is dropped for others.
        """
        task = asyncio.current_task()
        assert task is not None
        own = _Sending(body, task)
        self._make_room(own)
        self._sending.append(own)
        try:
            view = memoryview(body)
            for start in range(0, max(1, len(body)), PIECE):
                piece, more = bytes(view[start : start + PIECE]), start + PIECE < len(body)
                await send({"type": "http.response.body", "body": piece, "more_body": more})
                own.sent = start + len(piece)
        except asyncio.CancelledError:
            if not own.dropped or task.uncancel():
                raise
            log.warning("dropped an answer of %d bytes: its client is too slow", len(body))
        finally:
            self._sending.remove(own)

    def _make_room(self, new: _Sending) -> None:
        holders = Counter(id(one.body) for one in self._sending if not one.dropped)
        if id(new.body) in holders:
            return
        over = self.unsent + len(new.body) - self._limit
        for slow in sorted(self._sending, key=lambda one: one.speed):
            if over <= 0:
                return
            if not slow.dropped:
                slow.dropped = True
                slow.task.cancel()
                holders[id(slow.body)] -= 1
                over -= 0 if holders[id(slow.body)] else len(slow.body)


class BodyResponse(Response):
    """An answer whose body, made already, is sent by way of ``outgoing``."""

    def __init__(
        self,
        body: bytes,
        outgoing: Outgoing,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str | None = None,
    ) -> None:
        super().__init__(body, status_code, headers, media_type)
        self._whole = body
        self._outgoing = outgoing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send headers and body."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await self._outgoing.send(self._whole, send)
