"""What a service does when it hears that pictures were deleted or replaced, be it by another one."""

import logging

from service.library import Library
from service.metrics import Metrics
from service.purge import Purge

log = logging.getLogger("compass")


async def heed(library: Library, metrics: Metrics, purge: Purge | None) -> None:
    """For ever: have nothing of such pictures in memory, and have a cache in front drop them, if there is one
    that can.
    """
    async for pictures in library.store.changes.follow():
        library.drop(pictures)
        if pictures is None:
            log.warning("deletions were missed: nothing of what is in memory is used any more")
            continue
        metrics.changes.inc(len(pictures))
        if purge is not None:
            purge.ask(pictures)
