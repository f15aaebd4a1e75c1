"""Check every checksum of every picture in the store, the listing, what waits to be refined, and originals.

``compass fsck`` does it once; a running service does it again and again in the background.
"""

import asyncio
import logging
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress

from tqdm import tqdm

from service.errors import DamagedStream, NotFound, ServiceError, UnknownFormat
from service.settings import Settings
from service.storage.by_hand import open_store
from service.storage.models import Models
from service.storage.original_check import OriginalCheck
from service.storage.originals import Originals, originals_of
from service.storage.records import Record
from service.storage.store import Store

EXIT_DAMAGED = 3
_PAUSE = 0.05
"""Seconds between two pictures in the background: at most 20 per second are read."""

log = logging.getLogger("compass")


def run(delete: bool) -> int:
    """Check the store named by the settings, print what is wrong; 0 if nothing is, else 3.

    The embedded store is started when no service runs on it, else used as it runs.
    """
    return asyncio.run(_run(Settings(), delete))


async def _run(settings: Settings, delete: bool) -> int:
    async with AsyncExitStack() as stack:
        store = await open_store(settings, stack)
        return await check(store, delete, originals_of(settings, store))


async def check(store: Store, delete: bool, kept: Originals | None = None) -> int:
    """Check all pictures and the originals that are kept; returns the exit code. Raises StoreUnavailable.

    Pictures of another version of the format are counted; they are neither damaged nor ever deleted.
    """
    await store.catalogue.move()
    seen: set[str] = set()
    damaged = relisted = unknown = 0
    models, originals = Models(), OriginalCheck(kept, thorough=True)
    with tqdm(unit=" pictures", file=sys.stderr, disable=None) as progress:
        async for picture in store.catalogue.ids():
            if picture in seen:
                continue
            seen.add(picture)
            progress.update()
            try:
                record = await check_one(store, picture, models)
                relisted += await store.reindex(record)
                complaint = await originals.look(record)
                if complaint:
                    print(f"{picture}: {complaint}")
            except NotFound:
                continue  # deleted or expired meanwhile
            except UnknownFormat as error:
                unknown += 1
                print(f"{picture}: {error}")
            except DamagedStream as error:
                damaged += 1
                print(f"{picture}: {error}")
                if delete:
                    with suppress(NotFound):  # deleted meanwhile
                        await store.delete_damaged(picture)
            except ServiceError:
                raise
            except Exception as error:  # unforeseen: told, and not deleted
                damaged += 1
                print(f"{picture}: {error!r}")
    removed = await store.catalogue.prune()
    enlisted = await store.waiting.mend()
    print(
        f"{len(seen)} pictures, {damaged} damaged, {relisted} were missing from the listing, "
        f"{removed} entries of it removed"
    )
    if enlisted:
        print(f"{enlisted} kept uploads were missing from those that wait to be refined")
    for complaint in [*models.complaints(), *await originals.finish(delete)]:
        print(complaint)
    if unknown:
        print(f"{unknown} pictures in another version of the format, which were left alone")
    return EXIT_DAMAGED if damaged or originals.lost else 0


async def check_one(store: Store, picture: str, models: Models) -> Record:
    """Read all of a picture, verify it and count it.

    Raises DamagedStream, UnknownFormat, NotFound or StoreUnavailable.
    """
    record = await store.verify(picture)
    models.add(record.header)
    return record


async def watch(store: Store, hours: float, found: Callable[[], None], kept: Originals | None = None) -> None:
    """Check the whole store once in ``hours``, for ever; damage is logged and told to ``found``.

    Originals are looked for, not read: that may cost money.
    """
    while True:
        began = time.monotonic()
        pictures = damaged = unknown = 0
        models, originals = Models(), OriginalCheck(kept, thorough=False)
        try:
            await store.catalogue.move()
            async for picture in store.catalogue.ids():
                pictures += 1
                try:
                    record = await check_one(store, picture, models)
                    await store.reindex(record)
                    complaint = await originals.look(record)
                    if complaint:
                        found()
                        log.error("picture %s: %s", picture, complaint)
                except NotFound:
                    continue  # deleted or expired meanwhile
                except UnknownFormat:
                    unknown += 1
                except DamagedStream as error:
                    damaged += 1
                    found()
                    log.error("picture %s is damaged: %s", picture, error)
                except ServiceError:
                    raise
                except Exception:
                    damaged += 1
                    log.exception("picture %s cannot be checked", picture)
                await asyncio.sleep(_PAUSE)
            await store.catalogue.prune()
            await store.waiting.mend()
            log.info("checked %d pictures, %d damaged", pictures, damaged)
            for complaint in models.complaints():
                log.warning("%s", complaint)
            for sentence in await originals.finish():
                log.info("%s", sentence)
            if unknown:
                log.warning("%d pictures are stored in another version of the format", unknown)
        except ServiceError as error:
            log.warning("the check of the store was broken off: %s", error)
        except Exception:  # unforeseen, and no reason never to check again
            log.exception("the check of the store was broken off")
        await asyncio.sleep(max(0.0, hours * 3600 - (time.monotonic() - began)))
