"""The listing of all pictures by age: sorted sets whose members sort by age. It can be rebuilt from the
pictures (``compass fsck``), and nothing but listing depends on it.

There are SHARDS of them, ``compass:index:{0}`` and so on, so that a cluster spreads them evenly over its
servers; a picture's id decides which it is in. ``compass:index`` is where earlier versions listed all
pictures: it is read as well, and emptied by :meth:`Listing.move`.
"""

import heapq
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby, islice
from typing import Any
from zlib import crc32

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from service.errors import StoreUnavailable
from service.storage.errands import Errands, raw
from service.storage.records import Record, is_index_entry, picture_of

SHARDS = 64
OLD = "compass:index"
_BATCH = 5000
"""Entries that are moved at once: some eighty for each shard."""
_MORE = 8
"""Entries asked of each shard beyond its share of a page: shares are not quite equal."""


def shard(picture: str) -> str:
    """The key of the sorted set that lists a picture."""
    return f"{OLD}:{{{crc32(picture.encode()) % SHARDS}}}"


KEYS = [f"{OLD}:{{{number}}}" for number in range(SHARDS)]


@dataclass
class _Part:
    """What has been read of one sorted set: ``entries``, newest first; ``more`` may follow after the last."""

    key: str
    after: bytes | None
    entries: list[bytes] = field(default_factory=list)
    more: bool = True

    @property
    def last(self) -> bytes | None:
        """The oldest entry that was read."""
        return self.entries[-1] if self.entries else self.after


class Listing:
    """The entries of the listing. Raises StoreUnavailable, and StoreFull where one is added."""

    def __init__(self, errands: Errands) -> None:
        self._errands = errands

    async def entries(self, cursor: str | bytes | None, limit: int) -> list[bytes]:
        """Up to ``limit`` entries, newest first, after ``cursor``.

        Of each shard little more is read than its share of them, and more where that was not enough.
        """
        after = cursor.encode() if isinstance(cursor, str) else cursor
        parts = [_Part(key, after) for key in (*KEYS, OLD)]
        wanted, size = parts, min(limit, limit // SHARDS + _MORE)
        while wanted:
            await self._read(wanted, size)
            newest = list(islice(_merged(parts), limit))
            end = newest[-1] if len(newest) == limit else None
            wanted = [part for part in parts if part.more and (end is None or (part.last or end) > end)]
            size *= 2
        return newest

    async def _read(self, parts: Sequence[_Part], size: int) -> None:
        """Read the next entries of some shards."""
        wanted = [(part.key, partial(_queue_range, part=part, size=size)) for part in parts]
        for part, found in zip(parts, await self._errands.read_all(wanted), strict=True):
            if isinstance(found, Exception):
                raise StoreUnavailable(f"{part.key} is no listing: {found}") from found
            members = [raw(member) for member in found]
            part.entries += members
            part.more = len(members) == size

    async def has(self, record: Record) -> bool:
        """Whether a picture is listed."""
        key = shard(record.id)
        score = await self._errands.read(key, lambda client: client.zscore(key, record.index_entry))
        return score is not None

    async def add(self, record: Record) -> bool:
        """List a picture; True if it was missing."""
        key = shard(record.id)
        added = await self._errands.write(key, lambda client: client.zadd(key, {record.index_entry: 0}))
        return bool(added)

    async def drop(self, picture: str, entry: str) -> None:
        """Take out an entry of a picture; what an earlier version listed goes when it is read."""
        key = shard(picture)
        await self._errands.change(key, lambda client: client.zrem(key, entry))

    async def remove(self, entries: Sequence[bytes]) -> None:
        """Take out entries, wherever they are, and whatever: others may have put them there."""
        ours = [entry for entry in entries if is_index_entry(entry)]
        strange = [entry for entry in entries if not is_index_entry(entry)]
        gone = dict(_by_shard(ours)) if not strange else dict.fromkeys(KEYS, strange)
        if strange:
            for key, some in _by_shard(ours):
                gone[key] = [*some, *strange]
        for key, some in {**gone, OLD: list(entries)}.items():
            await self._errands.change(key, partial(_take_out, key, some))

    async def move(self) -> int:
        """Move what earlier versions have listed to where it belongs; returns how many entries that were.

        It may be broken off and begun again at any time, by several at once: an entry that is in both places
        is one entry.
        """
        moved = 0
        while True:
            found = await self._errands.read(OLD, lambda client: client.zrange(OLD, 0, _BATCH - 1))
            entries = [raw(member) for member in found]
            if not entries:
                return moved
            for key, some in _by_shard(filter(is_index_entry, entries)):
                await self._errands.write(key, partial(_put_in, key, some))
            await self._errands.write(OLD, partial(_take_out, OLD, entries))
            moved += len(entries)


def _put_in(key: str, entries: Sequence[bytes], client: Redis) -> Awaitable[Any]:
    return client.zadd(key, dict.fromkeys(entries, 0))


def _take_out(key: str, entries: Sequence[bytes], client: Redis) -> Awaitable[Any]:
    return client.zrem(key, *entries)


def _queue_range(pipe: Pipeline, part: _Part, size: int) -> None:
    top = b"(" + part.last if part.last else b"+"
    pipe.zrange(part.key, top, "-", desc=True, bylex=True, offset=0, num=size)


def _merged(parts: Sequence[_Part]) -> Iterable[bytes]:
    """All entries that were read, newest first, each once."""
    for entry, _ in groupby(heapq.merge(*(part.entries for part in parts), reverse=True)):
        yield entry


def _by_shard(entries: Iterable[bytes]) -> list[tuple[str, list[bytes]]]:
    """Entries with the keys that they belong to."""
    found: dict[str, list[bytes]] = {}
    for entry in entries:
        found.setdefault(shard(picture_of(entry)), []).append(entry)
    return list(found.items())
