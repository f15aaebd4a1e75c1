"""What earlier versions have written, brought to where this one keeps it, while the service runs."""

import asyncio
import logging

from service.errors import ServiceError
from service.storage.store import Store

RETRY_SECONDS = 60.0

log = logging.getLogger("compass")


async def migrate(store: Store) -> None:
    """Bring everything over, however often the store fails meanwhile; ends when that is done."""
    while True:
        try:
            moved = await store.catalogue.move()
        except ServiceError as error:
            log.warning("what an earlier version listed is moved later: %s", error)
            await asyncio.sleep(RETRY_SECONDS)
        else:
            if moved:
                log.info("moved %d entries of the listing to where this version keeps them", moved)
            return
