"""A backup back into a store, empty or not: what is there and whole stays as it is."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from hashlib import sha256

from service.backup.archive import (
    Entry,
    NoBackup,
    Whole,
    original_key,
    read_run,
    runs,
    unpack,
    without_original,
)
from service.backup.together import together
from service.errors import DamagedStream, NotFound, UnknownFormat
from service.storage.objects import Objects
from service.storage.originals import Originals
from service.storage.store import Store

_AT_ONCE = 8
"""So many pictures are read and written at once."""


@dataclass
class Restored:
    """What was done: pictures ``restored``, or in a check found whole; those ``there`` already, or
    ``expired``; restored without their original; ``complaints`` name what could not be restored.
    """

    pictures: int = 0
    restored: int = 0
    there: int = 0
    expired: int = 0
    without_original: int = 0
    complaints: list[str] = field(default_factory=list)

    @property
    def done(self) -> int:
        """Pictures that are done with."""
        return self.restored + self.there + self.expired + len(self.complaints)


class Restoring:
    """Restores from ``source`` into a store and its ``originals``.

    Raises StoreUnavailable, StoreFull, ObjectsUnavailable or NoBackup; the same again goes on where it ended.
    """

    def __init__(self, source: Objects, store: Store | None, originals: Originals | None) -> None:
        """``store`` is None for a check, which reads everything and writes nothing."""
        self._source = source
        self._store = store
        self._originals = originals
        self._restored = Restored()

    async def run(self, at: str = "", told: Callable[[Restored], None] = lambda restored: None) -> Restored:
        """Restore the last run that began no later than ``at``, a run's name or the beginning of one, such as
        2026-11-26; "": the last.
        """
        found = await runs(self._source)
        names = [name for name in found if not at or name <= at or name.startswith(at)]
        if not names:
            raise NoBackup("there is no complete backup here" + (f" of {at} or before" if at else ""))
        entries = await read_run(self._source, names[-1])
        self._restored.pictures = len(entries)
        for start in range(0, len(entries), _AT_ONCE):
            await together(self._restore(entry) for entry in entries[start : start + _AT_ONCE])
            told(self._restored)
        return self._restored

    async def _restore(self, entry: Entry) -> None:
        try:
            if self._store is not None and await _is_whole(self._store, entry.picture):
                self._restored.there += 1
                return
            data = await self._source.get(entry.key)
            try:
                whole = await asyncio.to_thread(unpack, entry.picture, data)
            except NotFound:
                self._restored.expired += 1
                return
            await self._put(whole)
            self._restored.restored += 1
        except NotFound:
            self._restored.complaints.append(f"{entry.picture}: missing in the backup")
        except (DamagedStream, UnknownFormat) as error:
            self._restored.complaints.append(f"{entry.picture}: {error}")

    async def _put(self, whole: Whole) -> None:
        """Write a picture as an upload is written: its original is there before it is."""
        digest, upload = whole.record.facts.original, None
        if digest:
            upload = await self._original(digest)
            if upload is None or (self._store is not None and self._originals is None):
                self._restored.without_original += 1
                whole, upload = without_original(whole), None
        if self._store is None:
            return
        keeping: AbstractAsyncContextManager[None] = nullcontext()
        if upload is not None and self._originals is not None:
            keeping = self._originals.kept(whole.record.id, digest, upload)
        async with keeping:
            await self._store.put(whole.record, whole.stream, whole.planes)

    async def _original(self, digest: str) -> bytes | None:
        """An upload out of the backup; None if it is missing or damaged there."""
        try:
            data = await self._source.get(original_key(digest))
        except NotFound:
            return None
        found = await asyncio.to_thread(lambda: sha256(data).hexdigest())
        return data if found == digest else None


async def _is_whole(store: Store, picture: str) -> bool:
    try:
        await store.verify(picture)
    except (NotFound, DamagedStream, UnknownFormat):
        return False
    return True
