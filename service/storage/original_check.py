"""The part of a check of the store that is about originals: whether they are there, whole, and needed."""

import logging

from service.errors import DamagedStream, NotFound, ObjectsUnavailable
from service.storage.originals import Originals
from service.storage.records import Record

log = logging.getLogger("compass")


class OriginalCheck:
    """One check of the originals of all pictures; ``thorough`` reads them all, else they are looked for.

    ``originals`` is None where none are kept now. ``lost`` counts those that are missing or damaged. If the
    object store does not answer, the check of the pictures themselves goes on. Raises StoreUnavailable.
    """

    def __init__(self, originals: Originals | None, thorough: bool) -> None:
        self._originals = originals
        self._thorough = thorough
        self._pictures = 0
        self._away = False
        self._seen: set[str] = set()
        self.lost = 0

    async def look(self, record: Record) -> str | None:
        """Look at the original of a picture, if it has any; what is wrong with it, or None."""
        digest = record.facts.original
        self._pictures += bool(digest)
        if not digest or self._originals is None or self._away:
            return None
        await self._originals.mend(record.id, digest)
        if digest in self._seen:  # of another picture, too
            return None
        try:
            complaint = await self._complaint(digest, record.facts.source_bytes)
        except ObjectsUnavailable:
            self._away = True
            return None
        if complaint is not None and await self._originals.is_gone(record.id, digest):
            return None  # deleted since its record was read
        self._seen.add(digest)
        self.lost += complaint is not None
        return complaint

    async def finish(self, delete_strange: bool = False) -> list[str]:
        """Delete what no picture needs any more, when all were looked at; sentences for who runs this."""
        if self._originals is None:
            told = f"{self._pictures} pictures have originals, but COMPASS_ORIGINALS is not set"
            return [told] if self._pictures else []
        try:
            found = await self._originals.collect(delete_strange)
        except ObjectsUnavailable:
            self._away = True
        if self._away:
            return ["the originals could not all be checked: the object store does not answer"]
        told = f"{found.originals} originals, {self.lost} missing or damaged, {found.deleted} deleted"
        sentences = [told] if found.originals or self._pictures else []
        if found.strange:
            sentences.append(
                f"{len(found.strange)} originals belong to no picture that this store knows of, such as "
                f"{found.strange[0]}: compass fsck --delete deletes them"
            )
        return sentences

    async def _complaint(self, digest: str, size: int) -> str | None:
        assert self._originals is not None
        if not self._thorough:
            there = await self._originals.size(digest)
            return None if there == size else f"its original has {there or 0} bytes, not {size}"
        try:
            await self._originals.read(digest)
        except NotFound:
            return "its original is missing"
        except DamagedStream as error:
            return f"its original is damaged: {error}"
        return None
