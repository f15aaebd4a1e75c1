"""A server between a store and its Valkey that breaks connections at the worst moment."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path


class Breaking:
    """Hands on all that is said, but breaks the connection on which a ``word`` is sent, and counts how often
    that is: as a Valkey does that ends while it writes.
    """

    def __init__(self, socket: str, word: bytes) -> None:
        self._socket = socket
        self._word = word
        self.broken = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        above, below = await asyncio.open_unix_connection(self._socket)
        back = asyncio.create_task(self._hand_on(above, writer))
        while data := await reader.read(65536):
            if self._word in data:
                self.broken += 1
                break
            below.write(data)
        for one in (below, writer):
            one.close()
        back.cancel()

    @staticmethod
    async def _hand_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)


@asynccontextmanager
async def breaking(url: str, folder: Path, word: bytes) -> AsyncIterator[tuple[str, Breaking]]:
    """The URL of such a server before the Valkey at ``url``, a unix socket's, and the server."""
    path = url.removeprefix("unix://").split("?")[0]
    between = Breaking(path, word)
    server = await asyncio.start_unix_server(between.serve, folder / "breaking.sock")
    async with server:
        yield url.replace(path, str(folder / "breaking.sock")), between
