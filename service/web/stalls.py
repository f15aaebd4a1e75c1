"""Dropping connections that stall: uvicorn itself waits for ever for headers, and for a client to read."""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle


class DroppingProtocol(H11Protocol):
    """uvicorn's protocol, which looks every ``stall_seconds`` whether the client has got anywhere.

    The connection is dropped if, from one look to the next, it waited for a request and the headers of none
    were finished, or if bytes wait to be sent and the client has taken in none of them. A request whose body
    arrives or whose answer is being made is left alone: these have limits of their own.
    """

    stall_seconds: float = 30.0
    _seen: tuple[RequestResponseCycle | None, bool, int] | None = (None, True, 0)
    """At the last look: the latest request, whether it has been answered, bytes unsent. None: the client has
    read since."""
    _look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to look."""
        super().connection_made(transport)
        self._look = self.loop.call_later(self.stall_seconds, self._drop_if_stalled)

    def connection_lost(self, exc: Exception | None) -> None:
        """Look no more."""
        if self._look is not None:
            self._look.cancel()
        super().connection_lost(exc)

    def resume_writing(self) -> None:
        """The client has taken in most of what there was, whatever is added now."""
        self._seen = None
        super().resume_writing()

    def _drop_if_stalled(self) -> None:
        unsent = self.transport.get_write_buffer_size()
        seen = self.cycle, getattr(self.cycle, "response_complete", True), unsent
        if self._seen is not None:
            waits_for_request = seen[1] and seen == self._seen
            nothing_read = unsent >= self._seen[2] > 0
            if waits_for_request or nothing_read:
                self.transport.abort()
                return
        self._seen = seen
        self._look = self.loop.call_later(self.stall_seconds, self._drop_if_stalled)


def dropping_after(seconds: float) -> type[DroppingProtocol]:
    """The protocol that drops connections which have stalled for ``seconds``, or at most twice that."""

    class Limited(DroppingProtocol):
        stall_seconds = seconds

    return Limited
