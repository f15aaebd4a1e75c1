"""Closing a connection so that its last answer arrives though the request's body is still on its way."""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

LINGER_SECONDS = 5.0
"""For so long what a client still sends is thrown away."""


class _Lingering:
    """A transport whose first ``close`` ends only what we send, if the client is still sending a body.

    To close a socket that holds unread bytes resets the connection, and a proxy or a client that writes at
    that moment never reads the answer.
    """

    def __init__(self, transport: asyncio.Transport, protocol: "LingeringProtocol") -> None:
        self._transport = transport
        self._protocol = protocol

    def close(self) -> None:
        """Close: at once, or when the client closes, or after ``LINGER_SECONDS``."""
        if not self._protocol.linger(self._transport):
            self._transport.close()

    def is_closing(self) -> bool:
        """Whether no further request is served."""
        return self._protocol.lingers or self._transport.is_closing()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class LingeringProtocol(H11Protocol):
    """uvicorn's protocol, which reads on after an answer that came before the end of the request's body."""

    lingers = False
    """Whether the last answer has been given and the rest of a body is thrown away."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Close with care from now on."""
        super().connection_made(_Lingering(transport, self))  # type: ignore[arg-type]

    def data_received(self, data: bytes) -> None:
        """As uvicorn's own, unless nobody wants it."""
        if not self.lingers:
            super().data_received(data)

    def linger(self, transport: asyncio.Transport) -> bool:
        """Begin to linger, if there is reason to and it is the first time; whether it was."""
        if self.lingers or transport.is_closing() or self.conn.their_state is not h11.SEND_BODY:
            return False
        self.lingers = True
        if transport.can_write_eof():
            transport.write_eof()
        transport.resume_reading()
        self.loop.call_later(LINGER_SECONDS, transport.close)
        return True
