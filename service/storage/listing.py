"""The listing of all pictures by age: ``compass:index``, a sorted set. It can be rebuilt from the pictures
(``compass fsck``), and nothing but listing depends on it.
"""

from collections.abc import Sequence

from service.storage.errands import Errands, raw
from service.storage.records import Record

INDEX = "compass:index"


class Listing:
    """The entries of the listing. Raises StoreUnavailable, and StoreFull where one is added."""

    def __init__(self, errands: Errands) -> None:
        self._errands = errands

    async def entries(self, cursor: str | bytes | None, limit: int) -> list[bytes]:
        """Up to ``limit`` entries, newest first, after ``cursor``."""
        after = cursor.encode() if isinstance(cursor, str) else cursor
        top = b"(" + after if after else b"+"
        members = await self._errands.read(
            lambda client: client.zrange(INDEX, top, "-", desc=True, bylex=True, offset=0, num=limit)
        )
        return [raw(member) for member in members]

    async def has(self, record: Record) -> bool:
        """Whether a picture is listed."""
        score = await self._errands.read(lambda client: client.zscore(INDEX, record.index_entry))
        return score is not None

    async def add(self, record: Record) -> bool:
        """List a picture; True if it was missing."""
        async with self._errands.one() as client:
            return bool(await client.zadd(INDEX, {record.index_entry: 0}))

    async def remove(self, entries: Sequence[str | bytes]) -> None:
        """Take entries out."""
        async with self._errands.one() as client:
            await client.zrem(INDEX, *entries)
