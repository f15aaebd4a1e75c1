"""A cache in front is asked to drop pictures that were deleted or replaced."""

import asyncio
import logging
from collections.abc import Collection

import urllib3

from service.metrics import Metrics

SECONDS = 2.0
"""So long a cache may take to answer."""
PAUSES = (0.5, 1.0)
"""Seconds before it is asked again."""
AT_ONCE = 8
"""So many questions are under way, at most."""
LONGEST = 100_000
"""So many pictures may wait to be purged."""

log = logging.getLogger("compass")


class Purge:
    """Sends one request with method PURGE for each picture. Every front end does: so the last one is sent
    when none of them would answer with the picture any more, whichever of them ends meanwhile.
    """

    def __init__(self, url: str, metrics: Metrics) -> None:
        """``url`` is the address of what a cache has of a picture, whose id stands for ``{id}``."""
        self._url = url
        self._metrics = metrics
        self._waiting: asyncio.Queue[str] = asyncio.Queue(LONGEST)
        self._pool = urllib3.PoolManager(maxsize=AT_ONCE, retries=False, timeout=SECONDS)

    def ask(self, pictures: Collection[str]) -> None:
        """Have these pictures purged soon."""
        for picture in pictures:
            try:
                self._waiting.put_nowait(picture)
            except asyncio.QueueFull:
                self._metrics.purges.labels("failed").inc()
                log.error("too many wait to be purged: the cache in front may still have %s", picture)

    async def for_ever(self) -> None:
        """Purge what is asked for."""
        await asyncio.gather(*(self._one_after_another() for _ in range(AT_ONCE)))

    async def _one_after_another(self) -> None:
        while True:
            picture = await self._waiting.get()
            purged = await self._purged(self._url.replace("{id}", picture))
            self._metrics.purges.labels("purged" if purged else "failed").inc()
            if not purged:
                log.error("the cache in front may still have %s, which was deleted or replaced", picture)

    async def _purged(self, url: str) -> bool:
        for pause in (*PAUSES, None):
            if await asyncio.to_thread(self._sent, url):
                return True
            if pause is not None:
                await asyncio.sleep(pause)
        return False

    def _sent(self, url: str) -> bool:
        """Whether the cache has it no more: it says so, or that it never had it."""
        try:
            status = self._pool.request("PURGE", url, redirect=False).status
        except urllib3.exceptions.HTTPError as error:
            log.warning("the cache in front does not answer: %s", type(error).__name__)
            return False
        return 200 <= status < 300 or status == 404
