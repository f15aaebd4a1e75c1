"""Which pictures were deleted or replaced, told to every service that shares a store.

The stream ``compass:changes`` of Redis names the latest LENGTH of them, oldest first. Nothing that is right
depends on it, as records are believed for seconds only: it makes room in memory, and empties caches in front.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

from service.errors import DamagedStream, StoreFull, StoreUnavailable
from service.storage.errands import Errands

KEY = "compass:changes"
LENGTH = 100_000
"""So many changes are kept, about."""
LOOK_SECONDS = 0.5
"""How often it is looked for changes."""
BATCH = 1000
"""So many are read at once, at most."""
_FIELD = b"picture"
_NONE = b"0-0"
"""A name that is smaller than those of all entries."""

log = logging.getLogger("compass.store")


class Changes:
    """Writes and reads the stream."""

    def __init__(self, errands: Errands) -> None:
        self._errands = errands

    async def tell(self, picture: str) -> None:
        """Name a picture that was deleted or replaced. Raises StoreUnavailable.

        A full store takes no more, and what somebody else has put in the place of the stream takes nothing:
        then that alone is logged, and nobody hears of it.
        """
        try:
            await self._errands.change(
                KEY, lambda client: client.xadd(KEY, {_FIELD: picture}, maxlen=LENGTH, approximate=True)
            )
        except (StoreFull, DamagedStream) as error:
            log.warning("other services cannot be told that %s has changed: %s", picture, error)

    async def follow(self) -> AsyncIterator[frozenset[str] | None]:
        """The pictures changed from now on, as soon as they are seen, for ever; None: some that nobody can
        name any more, because the stream has lost what came after what was read last.
        """
        last: bytes | None = None
        while True:
            try:
                if last is None:
                    last = await self._newest()
                entries = await self._since(last)
            except (StoreUnavailable, DamagedStream):  # it goes on where it was
                await asyncio.sleep(LOOK_SECONDS)
                continue
            if last != _NONE and (not entries or entries[0][0] != last):
                last = None
                yield None
                continue
            new = entries if last == _NONE else entries[1:]
            if new:
                last = new[-1][0]
                yield frozenset(_named(fields) for _, fields in new)
            if len(entries) < BATCH:
                await asyncio.sleep(LOOK_SECONDS)

    async def _newest(self) -> bytes:
        """The name of the newest entry; _NONE if there is none."""
        entries: Any = await self._errands.read(KEY, lambda client: client.xrevrange(KEY, count=1))
        return bytes(entries[0][0]) if entries else _NONE

    async def _since(self, last: bytes) -> list[tuple[bytes, dict[bytes, bytes]]]:
        """The entries from ``last`` on, that one included: if it is missing, so may be others."""
        found: Any = await self._errands.read(KEY, lambda client: client.xrange(KEY, min=last, count=BATCH))
        return list(found)


def _named(fields: dict[bytes, bytes]) -> str:
    return fields.get(_FIELD, b"").decode("latin-1")
