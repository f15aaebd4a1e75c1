"""Pictures in Redis: one stream per picture, read by prefix, checked on every read.

Keys of a picture: ``{id}:stream``, ``{id}:facts`` (JSON) and ``{id}:alpha:<layer>``, written in one
MULTI; the braces keep them together in a cluster. Who writes watches ``{id}:facts``, so that of several
times to live the longest holds, whoever comes last. ``compass:index`` is a sorted set that lists
pictures by age; it only serves listing and can be rebuilt from the rest (``compass fsck``).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TypeVar

import redis.asyncio as redis
from cachetools import TTLCache
from redis.asyncio.client import Pipeline
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import OutOfMemoryError, RedisError, ResponseError, WatchError

from model.errors import StreamError
from model.stream.container import MAX_HEADER_BYTES, Header, read_header, read_layer, verify
from service.errors import DamagedStream, NotFound, StoreFull, StoreUnavailable
from service.metrics import Metrics
from service.settings import Settings
from service.storage.records import (
    Record,
    all_keys,
    alpha_key,
    alpha_keys,
    assemble,
    check_alpha,
    expired,
    facts_key,
    index_entry,
    later,
    parse_facts,
    stream_key,
    write_facts,
)

INDEX = "compass:index"
RECORD_SECONDS = 3.0
"""How long a record is believed: so long a picture may be known here that another service has deleted."""
_RETRIES = 3
_BATCH = 500

R = TypeVar("R")


class Store:
    """Reads and writes pictures. Raises StoreUnavailable, StoreFull, NotFound or DamagedStream."""

    def __init__(self, url: str, settings: Settings, metrics: Metrics) -> None:
        self._metrics = metrics
        self._patience = (_RETRIES + 1) * settings.store_timeout
        self._records: TTLCache[str, Record] = TTLCache(max(1, settings.header_cache), RECORD_SECONDS)
        self._remembers = settings.header_cache > 0
        self._changes = 0  # of the store through this object; no read begun before one is remembered
        pool = redis.BlockingConnectionPool.from_url(
            url,
            max_connections=settings.store_connections,
            timeout=settings.store_timeout,
            socket_timeout=settings.store_timeout,
            socket_connect_timeout=settings.store_timeout,
        )
        retry = Retry(ExponentialBackoff(cap=0.4, base=0.05), _RETRIES)
        # Every command here may be repeated without harm, writes too: ids follow from content.
        self._redis = redis.Redis.from_pool(pool)
        self._redis.set_retry(retry)

    async def close(self) -> None:
        """Close all connections."""
        await self._redis.aclose()

    async def ping(self) -> None:
        """Return if the store answers; raises StoreUnavailable."""
        with self._errors():
            await self._redis.ping()

    async def memory(self) -> tuple[int, int]:
        """Bytes of memory the store uses and may use (0: no limit); raises StoreUnavailable."""
        with self._errors():
            facts = await self._redis.info("memory")
        return int(facts["used_memory"]), int(facts["maxmemory"])

    async def put(self, record: Record, stream: bytes, alpha: tuple[bytes, ...]) -> Record:
        """Store a picture, whole or not at all; returns its record as it is stored.

        A picture that is there already, whatever its state, is written anew, keeps its age and lives as
        long as the longer of both lives.
        """

        async def write(pipe: Pipeline) -> Record:
            facts = record.facts
            with suppress(DamagedStream):
                stored = parse_facts(_raw(await pipe.get(facts_key(record.id))))
                if not expired(stored):
                    expires = later(facts.expires, stored.expires)
                    facts = replace(facts, created=stored.created, expires=expires)
            left = _milliseconds_left(facts.expires)
            pipe.multi()
            pipe.set(stream_key(record.id), stream, px=left)
            pipe.set(facts_key(record.id), write_facts(facts), px=left)
            for k, plane in enumerate(alpha):
                pipe.set(alpha_key(record.id, k), plane, px=left)
            return replace(record, facts=facts)

        kept = await self._transaction(record.id, write)
        await self.reindex(kept)
        return kept

    async def record(self, picture: str, fresh: bool = False) -> Record:
        """What is known of a picture; ``fresh`` asks Redis even if the answer is in memory."""
        known = None if fresh else self._remembered(picture)
        if known is not None:
            self._metrics.cache_hits.labels("headers").inc()
            return known
        changes = self._changes
        with self._errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.get(facts_key(picture))
                pipe.getrange(stream_key(picture), 0, MAX_HEADER_BYTES - 1)
                facts, start = await pipe.execute()
        self._records.pop(picture, None)
        self._metrics.bytes_read.inc(len(start))
        with self._errors():
            record = assemble(picture, _raw(facts), _raw(start))
        if self._remembers and changes == self._changes:
            self._records[picture] = record
        return record

    async def verify(self, picture: str) -> Record:
        """Read all of a picture and check it: its facts, every checksum and length, every alpha plane.

        Raises DamagedStream or NotFound. What is read is not counted: it is in no answer.
        """
        with self._errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.get(facts_key(picture))
                pipe.get(stream_key(picture))
                pipe.mget(alpha_keys(picture))
                facts, stream, planes = await pipe.execute()
            record = assemble(picture, _raw(facts), _raw(stream))
            try:
                await asyncio.to_thread(verify, _raw(stream))
            except StreamError as error:
                raise DamagedStream(f"the stored stream of {picture}: {error}") from error
            for k in range(len(record.facts.alpha)):
                check_alpha(record, k, _raw(planes[k]))
        return record

    async def prefix(self, record: Record, layer: int) -> bytes:
        """The first bytes of the stream, up to the end of ``layer``, every checksum verified in a thread."""
        data = await self.unverified_prefix(record, layer)
        with self._errors():
            try:
                await asyncio.to_thread(_verify_layers, record.header, layer, data)
            except StreamError as error:
                self._records.pop(record.id, None)
                raise DamagedStream(f"the stored stream of {record.id}: {error}") from error
        return data

    async def unverified_prefix(self, record: Record, layer: int) -> bytes:
        """As :meth:`prefix`, with no more than its header and its length checked.

        For those who verify what they decode, and tell :meth:`found_damaged` what they find.
        """
        end = record.header.layers[layer].end
        with self._errors():
            data = _raw(await self._redis.getrange(stream_key(record.id), 0, end - 1))
        self._metrics.bytes_read.inc(len(data))
        if not data:
            self._records.pop(record.id, None)
            raise NotFound(f"no picture {record.id}")
        with self._errors():
            try:
                if read_header(data) != record.header:
                    raise DamagedStream(f"the stream of {record.id} has another header than expected")
                if len(data) < end:
                    raise DamagedStream(f"the stream of {record.id} ends at byte {len(data)}, not {end}")
            except StreamError as error:
                self._records.pop(record.id, None)
                raise DamagedStream(f"the stored stream of {record.id}: {error}") from error
            except DamagedStream:
                self._records.pop(record.id, None)
                raise
        return data

    def found_damaged(self, picture: str) -> None:
        """Count a picture whose stream was found damaged elsewhere, and forget what is known of it."""
        self._metrics.damaged.inc()
        self._records.pop(picture, None)

    async def alpha(self, record: Record, layer: int) -> bytes | None:
        """The coded alpha plane of a layer, None for an opaque picture."""
        if not record.facts.alpha:
            return None
        with self._errors():
            data = _raw(await self._redis.get(alpha_key(record.id, layer)))
            if not data:
                self._records.pop(record.id, None)
                raise NotFound(f"no picture {record.id}")
            check_alpha(record, layer, data)
        self._metrics.bytes_read.inc(len(data))
        return data

    async def delete(self, picture: str) -> None:
        """Delete whatever is stored under an id, readable or not. Raises NotFound if there is nothing."""
        with self._errors():
            with self._changing(picture):
                async with self._redis.pipeline(transaction=True) as pipe:
                    pipe.get(facts_key(picture))
                    pipe.delete(*all_keys(picture))
                    facts, deleted = await pipe.execute()
            if not deleted:
                raise NotFound(f"no picture {picture}")
            with suppress(DamagedStream):  # then it goes from the listing when that is read
                await self._redis.zrem(INDEX, index_entry(picture, parse_facts(_raw(facts))))

    async def delete_damaged(self, picture: str) -> None:
        """Delete a picture if it is damaged, but not if it is repaired meanwhile. Raises NotFound.

        Its entry in the listing goes when that is read.
        """

        async def write(pipe: Pipeline) -> None:
            try:
                await self.verify(picture)
            except DamagedStream:
                pipe.multi()
                pipe.delete(*all_keys(picture))

        await self._transaction(picture, write)

    async def extend(self, record: Record, expires: float | None) -> Record | None:
        """Let a picture live at least until ``expires`` (None: for ever); None if it is gone."""
        if later(record.facts.expires, expires) == record.facts.expires:
            return record
        keys = [stream_key(record.id), *(alpha_key(record.id, k) for k in range(len(record.facts.alpha)))]

        async def write(pipe: Pipeline) -> Record | None:
            stored = _raw(await pipe.get(facts_key(record.id)))
            if not stored or await pipe.exists(*keys) < len(keys):
                return None
            facts = parse_facts(stored)
            facts = replace(facts, expires=later(facts.expires, expires))
            left = _milliseconds_left(facts.expires)
            pipe.multi()
            pipe.set(facts_key(record.id), write_facts(facts), px=left)
            for key in keys:
                pipe.persist(key) if left is None else pipe.pexpire(key, left)
            return replace(record, facts=facts)

        return await self._transaction(record.id, write)

    async def page(self, cursor: str | None, limit: int) -> tuple[list[Record], str | None]:
        """Up to ``limit`` pictures, newest first, after ``cursor``; and the next cursor, if any.

        Entries of pictures that are gone are removed; damaged pictures are left out.
        """
        entries = await self._entries(cursor, limit)
        records = []
        for entry in entries:
            with suppress(DamagedStream):
                record = await self._listed(entry)
                if record is not None:
                    records.append(record)
        return records, entries[-1] if len(entries) == limit else None

    async def prune(self) -> int:
        """Remove all entries of the listing whose pictures are gone; returns how many these were."""
        removed, cursor = 0, None
        while entries := await self._entries(cursor, _BATCH):
            for entry in entries:
                with suppress(DamagedStream):
                    removed += await self._listed(entry) is None
            cursor = entries[-1]
        return removed

    async def _entries(self, cursor: str | None, limit: int) -> list[str]:
        """Up to ``limit`` entries of the listing, newest first, after ``cursor``."""
        top = f"({cursor}" if cursor else "+"
        with self._errors():
            members = await self._redis.zrange(INDEX, top, "-", desc=True, bylex=True, offset=0, num=limit)
        return [_raw(member).decode() for member in members]

    async def _listed(self, entry: str) -> Record | None:
        """The record of an entry of the listing; None if there is none any more, and the entry is removed.

        A picture stored again after it had expired has a new entry, and the old one is nobody's.
        """
        picture = entry.partition(":")[2]
        with suppress(NotFound):
            for fresh in (False, True):  # what is remembered may be the picture's last life
                record = await self.record(picture, fresh)
                if record.index_entry == entry:
                    return record
        with self._errors():
            await self._redis.zrem(INDEX, entry)
        return None

    async def ids(self) -> AsyncIterator[str]:
        """Every picture id in the store, in no order, perhaps more than once."""
        with self._errors():
            async for key in self._redis.scan_iter(match="{*}:stream", count=1000):
                yield key.decode()[1 : -len("}:stream")]

    async def reindex(self, record: Record) -> bool:
        """Put a picture into the listing; True if it was missing there.

        A full store leaves it out, to be put there by a later check: nothing else depends on it.
        """
        with self._errors():
            if await self._redis.zscore(INDEX, record.index_entry) is not None:
                return False
        with suppress(StoreFull), self._errors():
            return bool(await self._redis.zadd(INDEX, {record.index_entry: 0}))
        return False

    async def _transaction(self, picture: str, write: Callable[[Pipeline], Awaitable[R]]) -> R:
        """Run ``write``, again whenever another client has changed the picture's facts meanwhile.

        ``write`` reads what it needs, calls ``multi`` and queues its commands, which are carried out
        together or not at all. Raises StoreUnavailable if that does not succeed in time.
        """
        until = time.monotonic() + self._patience
        with self._errors(), self._changing(picture):
            while True:
                async with self._redis.pipeline(transaction=True) as pipe:
                    try:
                        await pipe.watch(facts_key(picture))
                        result = await write(pipe)
                        await pipe.execute()
                    except WatchError:  # also raised when the connection was lost
                        if time.monotonic() > until:
                            raise
                    else:
                        return result

    def _remembered(self, picture: str) -> Record | None:
        """A record that was read not long ago, of a picture that still lives; else None."""
        record = self._records.get(picture)
        return None if record is None or expired(record.facts) else record

    @contextmanager
    def _changing(self, picture: str) -> Iterator[None]:
        """Forget what is remembered of a picture, and what is being read, once it has been changed."""
        try:
            yield
        finally:
            self._changes += 1
            self._records.pop(picture, None)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Redis's errors as ours, counted; damage is counted, too."""
        try:
            yield
        except DamagedStream:
            self._metrics.damaged.inc()
            raise
        except OutOfMemoryError as error:
            self._metrics.store_errors.inc()
            raise StoreFull("the store has no room left for another picture") from error
        except ResponseError as error:
            self._metrics.store_errors.inc()
            if "OOM" in str(error):  # inside MULTI it is an ordinary error
                raise StoreFull("the store has no room left for another picture") from error
            raise StoreUnavailable(f"the store refused: {error}") from error
        except (RedisError, OSError) as error:
            self._metrics.store_errors.inc()
            raise StoreUnavailable("the store does not answer", retry_after=2) from error


def _verify_layers(header: Header, last: int, data: bytes) -> None:
    """Check every checksum up to the layer ``last``. Raises a StreamError."""
    for layer in range(last + 1):
        read_layer(header, layer, data)


def _raw(value: object) -> bytes:
    """An answer of Redis as bytes; nothing there is b""."""
    return value if isinstance(value, bytes) else b""


def _milliseconds_left(expires: float | None) -> int | None:
    """How long a key still lives, in milliseconds; None: for ever."""
    return None if expires is None else max(1, round(1000 * (expires - time.time())))
