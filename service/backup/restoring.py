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
from service.storage.records import Record
from service.storage.store import Store

_AT_ONCE = 8
"""So many pictures are read and written at once."""


@dataclass
class Restored:
    """What was done: pictures ``restored``, or in a check found whole; those ``there`` already, or
    ``expired``; restored without their original; ``originals`` brought back to pictures that were there.
    ``complaints`` name the pictures, and pictures' originals, that could not be restored.
    """

    pictures: int = 0
    restored: int = 0
    there: int = 0
    expired: int = 0
    without_original: int = 0
    originals: int = 0
    complaints: list[str] = field(default_factory=list)
    done: int = field(default=0, compare=False)
    """Pictures that are done with."""


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
        self._kept: set[str] = set()  # digests of originals that were found whole, or brought back

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
            several = entries[start : start + _AT_ONCE]
            await together(self._restore(entry) for entry in several)
            self._restored.done += len(several)
            told(self._restored)
        return self._restored

    async def _restore(self, entry: Entry) -> None:
        try:
            known = await _whole(self._store, entry.picture) if self._store is not None else None
            if known is not None:
                self._restored.there += 1
                await self._bring_original(known, entry.original)
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
        picture, digest, upload = whole.record.id, whole.record.facts.original, None
        if digest:
            if self._store is None or self._originals is not None:
                upload = await self._original(picture, digest)
            if upload is None:
                self._restored.without_original += 1
                whole = without_original(whole)
        if self._store is None:
            return
        keeping: AbstractAsyncContextManager[None] = nullcontext()
        if upload is not None and self._originals is not None:
            keeping = self._originals.kept(picture, digest, upload)
        async with keeping:
            await self._store.put(whole.record, whole.stream, whole.planes)

    async def _bring_original(self, record: Record, digest: str) -> None:
        """Have the original of a picture that is in the store, whole, where originals are kept."""
        if self._store is None or self._originals is None or not digest:
            return
        if record.facts.original == digest and await self._is_kept(digest):
            return
        upload = await self._original(record.id, digest)
        if upload is None:
            return
        await self._originals.attach(record, digest, upload)
        self._restored.originals += digest not in self._kept
        self._kept.add(digest)

    async def _is_kept(self, digest: str) -> bool:
        """Whether an original is there and undamaged; each is read once."""
        if digest not in self._kept and self._originals is not None:
            try:
                await self._originals.read(digest)
            except (NotFound, DamagedStream):
                return False
            self._kept.add(digest)
        return True

    async def _original(self, picture: str, digest: str) -> bytes | None:
        """The upload of a picture out of the backup; None, and a complaint, if it is missing or damaged
        there.
        """
        try:
            data = await self._source.get(original_key(digest))
        except NotFound:
            self._restored.complaints.append(f"{picture}: its original is missing in the backup")
            return None
        if await asyncio.to_thread(lambda: sha256(data).hexdigest()) != digest:
            self._restored.complaints.append(f"{picture}: its original is damaged in the backup")
            return None
        return data


async def _whole(store: Store, picture: str) -> Record | None:
    """The record of a picture that is in the store and whole; else None."""
    try:
        return await store.verify(picture)
    except (NotFound, DamagedStream, UnknownFormat):
        return None
