"""Dropping connections that stall: uvicorn itself waits for ever for headers, and for a client to read."""

import asyncio
import contextlib
import socket
from typing import Any

from uvicorn.protocols.http.h11_impl import RequestResponseCycle

from service.web.lingering import LingeringProtocol

KERNEL_BYTES = 32 * 1024
"""So little that has not been sent yet does the kernel take in for a connection: the rest waits here, where
it is seen and counted."""


class _Counted:
    """A transport that counts the bytes it is given."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.given = 0

    def write(self, data: bytes) -> None:
        """As the transport's own."""
        self.given += len(data)
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class DroppingProtocol(LingeringProtocol):
    """A protocol which looks every ``stall_seconds`` whether the client has got anywhere.

    The connection is dropped if, from one look to the next, it waited for a request and the headers of none
    were finished; or if bytes wait to be sent and the client has taken in none of them, or of one answer
    less than ``min_rate`` bytes a second. A request whose body arrives or whose answer is being made is left
    alone: these have limits of their own.
    """

    stall_seconds: float = 30.0
    min_rate: float = 0.0
    _seen: tuple[RequestResponseCycle | None, bool, int, int] = (None, True, 0, 0)
    """At the last look: the latest request, whether it has been answered, bytes taken in, bytes unsent."""
    _look: asyncio.TimerHandle | None = None
    _counted: _Counted

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to look."""
        self._counted = _Counted(transport)
        sock = transport.get_extra_info("socket")
        with contextlib.suppress(OSError, AttributeError):  # no such option, or no TCP
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, KERNEL_BYTES)
        super().connection_made(self._counted)  # type: ignore[arg-type]
        self._look = self.loop.call_later(self.stall_seconds, self._drop_if_stalled)

    def connection_lost(self, exc: Exception | None) -> None:
        """Look no more."""
        if self._look is not None:
            self._look.cancel()
        super().connection_lost(exc)

    def _drop_if_stalled(self) -> None:
        unsent = self.transport.get_write_buffer_size()
        answered = getattr(self.cycle, "response_complete", True)
        seen = self.cycle, answered, self._counted.given - unsent, unsent
        cycle, _, taken, waited = self._seen
        waits_for_request = answered and seen == self._seen
        least = self.min_rate * self.stall_seconds if self.cycle is cycle else 0
        too_slow = unsent > 0 and waited > 0 and seen[2] - taken <= least
        if waits_for_request or too_slow:
            self.transport.abort()
            return
        self._seen = seen
        self._look = self.loop.call_later(self.stall_seconds, self._drop_if_stalled)


def dropping_after(seconds: float, min_rate: float = 0.0) -> type[DroppingProtocol]:
    """The protocol that drops connections which have stalled for ``seconds``, or at most twice that, or are
    slower than ``min_rate`` bytes a second meanwhile.
    """

    class Limited(DroppingProtocol):
        pass

    Limited.stall_seconds, Limited.min_rate = seconds, min_rate
    return Limited
