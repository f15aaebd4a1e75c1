"""Uploads kept as they came, in an object store: ``originals/<sha256>``, once for all pictures made of them.

An upload is written, and seen to be there, before its picture is acknowledged. It is deleted with the last
picture that needs it. Pictures also go without a word: they expire, or a deletion is broken off. What they
leave is found by :meth:`Originals.collect`, which trusts only what this store itself put down: an object that
nobody is put down for is strange, not superfluous, since a new store may have been given an old bucket.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from hashlib import sha256

from service.errors import DamagedStream, Expired, NotFound, UnknownFormat
from service.settings import Settings
from service.storage.objects import Listed, Objects
from service.storage.records import Record
from service.storage.store import Store

FOLDER = "originals"
SETTLED_SECONDS = 3600.0
"""What was put down so long ago belongs to no upload that is still under way."""
_AT_ONCE = 4
"""So many originals are in memory at once to be verified and given back."""


@dataclass
class Collected:
    """What was found in looking through all originals: those deleted, and the keys that nobody is put down
    for.
    """

    originals: int = 0
    deleted: int = 0
    strange: tuple[str, ...] = ()


class Originals:
    """The originals of one store's pictures. Digests are SHA-256 in hexadecimal.

    Raises ObjectsUnavailable or StoreUnavailable, whatever else is said of a method.
    """

    def __init__(self, objects: Objects, store: Store, settings: Settings) -> None:
        self._objects = objects
        self._store = store
        self._references = store.references
        self._patience = settings.store_timeout
        self._lock_seconds = 4 * settings.object_timeout + 4 * settings.store_timeout
        self._reading = asyncio.Semaphore(_AT_ONCE)

    async def keep(self, picture: str, digest: str, data: bytes, thorough: bool = True) -> None:
        """Have an upload, whole, for a stored picture; see :meth:`kept` for one that is being stored.

        If it is there it is read, and written anew where it is damaged; its size suffices unless
        ``thorough``.
        """
        async with self._references.lock(digest, self._lock_seconds, self._patience):
            await self._references.need(digest, picture)
            if not await self._has(digest, len(data), thorough):
                await self._objects.put(_key(digest), data)
                if await self._objects.size(_key(digest)) != len(data):
                    raise DamagedStream("the upload was written, but is not there")

    @asynccontextmanager
    async def kept(self, picture: str, digest: str, data: bytes) -> AsyncIterator[None]:
        """Have an upload, whole, for a picture that is stored in the body of the ``async with``: it is there
        before, and once more afterwards, so that no deletion that ran meanwhile takes it away.
        """
        await self.keep(picture, digest, data)
        yield
        await self.keep(picture, digest, data, thorough=False)

    async def attach(self, record: Record, digest: str, data: bytes) -> Record:
        """Have an upload, whole, for a stored picture, and named in its facts; the record as it is then."""
        if record.facts.original == digest:
            await self.keep(record.id, digest, data)
            return record
        async with self.kept(record.id, digest, data):
            noted = await self._store.amend(record, lambda facts: replace(facts, original=digest))
        return noted or record

    async def _has(self, digest: str, size: int, thorough: bool) -> bool:
        """Whether an original is there, of this size; and, if ``thorough``, undamaged."""
        if await self._objects.size(_key(digest)) != size:
            return False
        if thorough:
            try:
                await self.read(digest)
            except (NotFound, DamagedStream):
                return False
        return True

    async def held(self, picture: str, digest: str) -> str | None:
        """What :meth:`release` has to be told; asked for before the picture is deleted."""
        return await self._references.since(digest, picture)

    async def release(self, picture: str, digest: str, held: str) -> bool:
        """Let go of a deleted picture's original; whether it was deleted, since no other picture needs it.

        Nothing happens if the picture was stored again since then.
        """
        async with self._references.lock(digest, self._lock_seconds, self._patience):
            needed = await self._references.all(digest)
            last = needed == {picture: held}
            if last:  # before it is crossed out: an object that nobody is put down for is nobody's to delete
                await self._objects.delete(_key(digest))
            await self._references.strike(digest, picture, held)
            return last

    async def size(self, digest: str) -> int | None:
        """Bytes of an original; None if there is none."""
        return await self._objects.size(_key(digest))

    async def read(self, digest: str) -> bytes:
        """An original, its digest verified, in a thread. Raises NotFound or DamagedStream."""
        async with self._reading:
            data = await self._objects.get(_key(digest))
            if await asyncio.to_thread(_digest, data) != digest:
                raise DamagedStream("the kept upload does not fit its checksum")
            return data

    async def collect(self, delete_strange: bool = False) -> Collected:
        """Delete the originals whose pictures are all gone; of those that nobody is put down for the keys are
        returned, unless they are to be deleted, too.
        """
        found, strange = Collected(), []
        async for one in self._objects.list(FOLDER):
            found.originals += 1
            digest = one.key.rpartition("/")[2]
            needed = await self._references.all(digest)
            for picture, since in needed.items():
                if not _settled(float(since) / 1000):
                    continue
                if await self.is_gone(picture, digest):
                    found.deleted += await self.release(picture, digest, since)
            if not needed and _settled(one.written):
                if delete_strange and await self._deleted_strange(one, digest):
                    found.deleted += 1
                else:
                    strange.append(one.key)
        found.strange = tuple(strange)
        return found

    async def mend(self, picture: str, digest: str) -> None:
        """Put down a stored picture for its original, if it is not, and is not gone meanwhile."""
        if await self._references.since(digest, picture) is None and not await self.is_gone(picture, digest):
            async with self._references.lock(digest, self._lock_seconds, self._patience):
                await self._references.need(digest, picture)

    async def is_gone(self, picture: str, digest: str) -> bool:
        """Whether there is no such picture, or it has another original; not if nobody can tell."""
        try:
            return (await self._store.record(picture, fresh=True)).facts.original != digest
        except (Expired, DamagedStream, UnknownFormat):
            return False
        except NotFound:
            return True

    async def _deleted_strange(self, one: Listed, digest: str) -> bool:
        async with self._references.lock(digest, self._lock_seconds, self._patience):
            if await self._references.all(digest):
                return False
            await self._objects.delete(one.key)
            return True


def originals_of(settings: Settings, store: Store) -> Originals | None:
    """Those that the settings name; None where uploads are not kept. Raises ObjectsUnavailable."""
    return Originals(Objects(settings.originals, settings), store, settings) if settings.originals else None


def _key(digest: str) -> str:
    return f"{FOLDER}/{digest}"


def _settled(when: float) -> bool:
    return time.time() - when > SETTLED_SECONDS


def _digest(data: bytes) -> str:
    return sha256(data).hexdigest()
