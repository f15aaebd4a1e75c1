"""Moving large layers to the cold tier in the background, and tidying up there.

A move writes the object first, reads it back, and then, in one transaction, cuts the stream in Redis and
notes in the facts where the rest lies; only for exactly the stream that was read, and only with a lease that
is still ours. So whenever it ends, all layers are in Redis, or the large ones are in the cold tier and nobody
has cut them off before they were there. What a broken move has written is deleted later.
"""

import asyncio
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from service.errors import DamagedStream, NotFound, ServiceError, UnknownFormat
from service.metrics import Metrics
from service.storage.cold import Kept
from service.storage.leases import renewed
from service.storage.reading import Found, is_gone
from service.storage.records import Record
from service.storage.store import Store

SETTLED_SECONDS = 3600.0
"""Whoever wrote an object so long ago has lost its lease."""
_SHORTEST_LIFE = 86400.0
"""Pictures that end sooner stay where they are."""
_AT_ONCE = 4
"""So many pictures are moved at once: all of them are in memory meanwhile."""
_PAUSE = 0.01
"""Seconds from one lot to the next."""
_TIDY_SECONDS = 86400.0
_BATCH = 500
_LEAST_PASS = 10.0
"""Seconds from one look at all pictures to the next, at least."""

log = logging.getLogger("compass")


@dataclass
class Moved:
    """What one look at all pictures moved."""

    pictures: int = 0
    bytes: int = 0


class Cooling:
    """Moves the pictures of a store that are older than ``seconds`` into its cold tier."""

    def __init__(self, store: Store, metrics: Metrics, seconds: float) -> None:
        self._store = store
        self._metrics = metrics
        self._seconds = seconds

    async def for_ever(self) -> None:
        """Move what is to be moved, and tidy up once a day. Whatever goes wrong is logged. Ends when
        cancelled.
        """
        tidied = -math.inf
        while True:
            began = time.monotonic()
            try:
                moved = await self.move()
                if moved.pictures:
                    log.info("%d pictures have moved to the cold tier, %d bytes", moved.pictures, moved.bytes)
                if began > tidied + _TIDY_SECONDS:
                    tidied, removed = began, await self.tidy()
                    log.info("deleted %d objects that no picture has from the cold tier", removed)
            except ServiceError as error:
                log.warning("moving layers to the cold tier was broken off: %s", error)
            except Exception:  # unforeseen, and no reason never to move any again
                log.exception("moving layers to the cold tier was broken off")
            await asyncio.sleep(max(_LEAST_PASS, self._seconds / 2) - (time.monotonic() - began))

    async def move(self) -> Moved:
        """Move the large layers of all pictures that are old enough. Raises a ServiceError."""
        done = Moved()
        batch: list[str] = []
        async for record in self._store.catalogue.all_records():
            if self._concerns(record):
                batch.append(record.id)
            if len(batch) == _AT_ONCE:
                await self._move_all(batch, done)
                batch.clear()
                await asyncio.sleep(_PAUSE)
        await self._move_all(batch, done)
        return done

    async def _move_all(self, pictures: Sequence[str], done: Moved) -> None:
        """Move some pictures at once: most of a move is waiting for the object store."""
        moved = await asyncio.gather(*map(self._moved, pictures), return_exceptions=True)
        for one in moved:
            if isinstance(one, BaseException):
                raise one
            done.pictures += one > 0
            done.bytes += one

    async def tidy(self) -> int:
        """Delete what no picture has, and who wrote it has lost the right to name; returns how many objects
        that were. Those that this store has not written are left alone, and told: it may be a new one with an
        old bucket. Raises a ServiceError.
        """
        removed = strange = 0
        batch: list[Kept] = []
        async for kept in self._store.cold.list():
            if kept.seconds > SETTLED_SECONDS:
                batch.append(kept)
            if len(batch) == _BATCH:
                removed, strange = await self._tidied(batch, removed, strange)
                batch.clear()
        removed, strange = await self._tidied(batch, removed, strange)
        if strange:
            log.warning("%d objects in the cold tier were not written by this store", strange)
        return removed

    async def _tidied(self, batch: Sequence[Kept], removed: int, strange: int) -> tuple[int, int]:
        """Tidy up among some objects; the counts with them."""
        found = await self._store.look_up([kept.picture for kept in batch])
        for kept, picture in zip(batch, found, strict=True):
            if _needs(picture, kept):
                continue
            if await self._store.cold.is_ours(kept):
                removed += await self._store.cold.remove(kept)
            else:
                strange += 1
        return removed, strange

    def _concerns(self, record: Record) -> bool:
        facts, now = record.facts, time.time()
        lives = facts.expires is None or facts.expires > now + _SHORTEST_LIFE
        old = facts.created < now - self._seconds
        return facts.cold is None and lives and old and self._store.cold.start(record.header) is not None

    async def _moved(self, picture: str) -> int:
        """Move one picture; the bytes that were moved, 0 if none were."""
        if await self._store.waiting.waits(picture):
            return 0
        lease = await self._store.leases.take(picture)
        if lease is None:
            return 0
        renewing = asyncio.create_task(renewed(lambda: self._store.leases.renew(lease)))  # it may take long
        try:
            record, stream, _ = await self._store.whole(picture)
            start = self._store.cold.start(record.header)
            if not self._concerns(record) or start is None:
                return 0
            cold = await self._store.cold.write(picture, start, stream[start:])
            if await self._store.cool(lease, record, stream[:start], cold) is None:
                return 0
        except (NotFound, UnknownFormat):
            return 0
        except DamagedStream as error:
            log.error("picture %s is not moved to the cold tier: %s", picture, error)
            return 0
        finally:
            renewing.cancel()
            await self._store.leases.give_back(lease)
        self._metrics.cold_moved.inc()
        self._metrics.cold_moved_bytes.inc(len(stream) - start)
        return len(stream) - start


def _needs(found: Found, kept: Kept) -> bool:
    """Whether a picture has this object; also if nobody can tell."""
    if isinstance(found, Record):
        return found.facts.cold is not None and found.facts.cold.token == kept.token
    return not is_gone(found)
