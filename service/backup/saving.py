"""A backup of a running store: only what is not in it yet is read and written.

All headers are read; a picture whose version the last run has is done with.
So also those are found that were refined, coded anew or given a longer life. With a time only the listing is
read, to there. The store is not locked: each picture is as it was at one moment of the run, as a whole.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace

from service.backup.archive import (
    Entry,
    NoBackup,
    Whole,
    contents,
    delete_run,
    entry_of,
    original_key,
    pack,
    read_run,
    runs,
    write_run,
)
from service.backup.together import together
from service.errors import DamagedStream, NotFound, Replaced, UnknownFormat
from service.flights import Flights
from service.storage.objects import Objects
from service.storage.originals import Originals
from service.storage.reading import Found
from service.storage.records import Record
from service.storage.store import Store

_AT_ONCE = 8
"""So many pictures are read and written at once."""
_PAGE = 500
_FRESH_SECONDS = 86400.0
"""What was written so lately may belong to another run that is under way."""


@dataclass
class Saved:
    """What a run did; ``complaints`` name what could not be saved."""

    pictures: int = 0
    written: int = 0
    originals: int = 0
    bytes: int = 0
    removed: int = 0
    complaints: list[str] = field(default_factory=list)


class Saving:
    """Saves the pictures of a store, and those of ``originals``, to ``target``.

    Raises StoreUnavailable or ObjectsUnavailable; then the last complete run is still the last one.
    """

    def __init__(self, store: Store, originals: Originals | None, target: Objects) -> None:
        self._store = store
        self._originals = originals
        self._target = target
        self._saved = Saved()
        self._known: dict[str, Entry] = {}
        self._entries: dict[str, Entry] = {}
        self._written: set[str] = set()
        self._saving: Flights[str] = Flights(lambda: None)

    async def run(
        self, since: float | None = None, told: Callable[[Saved], None] = lambda saved: None
    ) -> Saved:
        """Save everything, or what was uploaded ``since`` a time (seconds since 1970) and what was there
        before; ``told`` hears how far it is.
        """
        began = time.time()
        if found := await runs(self._target):
            self._known = {entry.picture: entry for entry in await self._last(found)}
        self._written = {entry.original for entry in self._known.values()}
        if since is not None:
            self._entries = dict(self._known)
        batch: list[tuple[str, Found]] = []
        async for one in self._store.catalogue.all_found() if since is None else self._uploaded(since):
            batch.append(one)
            if len(batch) == _AT_ONCE:
                await self._save_all(batch)
                batch.clear()
                told(self._saved)
        await self._save_all(batch)
        self._saved.pictures = len(self._entries)
        await write_run(self._target, began, sorted(self._entries.values(), key=lambda one: one.picture))
        await self._store.note_backup(began)
        return self._saved

    async def prune(self, keep: int) -> Saved:
        """Forget all runs but the last ``keep``, and delete what only they had."""
        found = await runs(self._target)
        for name in found[:-keep]:
            await delete_run(self._target, name)
        needed: set[str] = set()
        for name in found[-keep:]:
            for entry in await read_run(self._target, name):
                needed.update((entry.key, original_key(entry.original)))
        old = time.time() - _FRESH_SECONDS
        async for key, written in contents(self._target):
            if key not in needed and written < old:
                await self._target.delete(key)
                self._saved.removed += 1
        return self._saved

    async def _last(self, names: list[str]) -> list[Entry]:
        """The list of the last run that can be read; damaged ones are told."""
        for name in reversed(names):
            try:
                return await read_run(self._target, name)
            except NoBackup as error:
                self._saved.complaints.append(str(error))
        return []

    async def _uploaded(self, since: float) -> AsyncIterator[tuple[str, Found]]:
        """The pictures of the listing that came after a time."""
        cursor: str | None = None
        while True:
            page, cursor = await self._store.catalogue.page(cursor, _PAGE)
            for record in page:
                if record.facts.created < since:
                    return
                yield record.id, record
            if cursor is None:
                return

    async def _save_all(self, batch: list[tuple[str, Found]]) -> None:
        await together(self._save(picture, found) for picture, found in batch)

    async def _save(self, picture: str, found: Found) -> None:
        """Save one picture, if it is not there yet. What is damaged now stays as it was saved last."""
        known = self._known.get(picture)
        try:
            if not isinstance(found, Record):
                raise found
            entry = entry_of(found)
            if entry != known:
                entry = await self._write(picture)
            digest = entry.original
            wrong = await self._saving.join(digest, lambda: self._save_original(digest)) if digest else ""
            if wrong:  # the next run tries again
                self._saved.complaints.append(f"{picture}: {wrong}")
                entry = replace(entry, original="")
            self._entries[picture] = entry
        except NotFound:
            self._entries.pop(picture, None)  # deleted or expired meanwhile
        except (DamagedStream, UnknownFormat, Replaced) as error:
            self._saved.complaints.append(f"{picture}: {error}")
            if known is not None:
                self._entries[picture] = known

    async def _write(self, picture: str) -> Entry:
        whole = Whole(*await self._store.whole(picture))
        entry = entry_of(whole.record)
        if await self._target.size(entry.key) is None:
            data = await asyncio.to_thread(pack, whole)
            await self._target.put(entry.key, data)
            self._saved.written += 1
            self._saved.bytes += len(data)
        return entry

    async def _save_original(self, digest: str) -> str:
        """Save an original, if it is not there yet; what is wrong with it, or ""."""
        if digest in self._written:
            return ""
        if await self._target.size(original_key(digest)) is None:
            if self._originals is None:
                return "its original is in no store that is set"
            try:
                data = await self._originals.read(digest)
            except NotFound:
                return "its original is missing"
            except DamagedStream as error:
                return str(error)
            await self._target.put(original_key(digest), data)
            self._saved.originals += 1
            self._saved.bytes += len(data)
        self._written.add(digest)
        return ""
