"""Pictures in Redis: one stream per picture, read by prefix, checked on every read.

Keys of a picture: ``{id}:stream``, ``{id}:facts`` (JSON) and ``{id}:alpha:<layer>``, written in one
MULTI; the braces keep them together in a cluster. Who writes watches ``{id}:facts``, so that of several
times to live the longest holds, whoever comes last. :mod:`service.storage.listing` lists them by age, and
:mod:`service.storage.waiting` tells which wait to be refined.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import redis.asyncio as redis
from cachetools import TTLCache
from redis.asyncio.client import Pipeline
from redis.exceptions import RedisError, WatchError

from model.errors import StreamError
from model.stream.container import MAX_HEADER_BYTES, Header, read_header, verify, verify_layer
from service.errors import (
    DamagedStream,
    NotFound,
    Replaced,
    ServiceError,
    StoreFull,
    StoreUnavailable,
    UnknownFormat,
)
from service.metrics import Metrics
from service.settings import Settings
from service.storage.changes import Changes
from service.storage.cold import cold_tier_of, queue_tokens
from service.storage.disk import Disk
from service.storage.errands import Errands, is_of_another_type, raw, together
from service.storage.jobs import JobBoard
from service.storage.leases import Lease, Leases, queue_revocation, watch_token
from service.storage.listing import Listing
from service.storage.promises import Promise
from service.storage.records import (
    Cold,
    Effort,
    Facts,
    Record,
    Refinement,
    all_keys,
    alpha_key,
    alpha_keys,
    assemble,
    check_alpha,
    check_cold,
    expired,
    facts_key,
    index_entry,
    is_index_entry,
    later,
    original_key,
    parse_facts,
    picture_of,
    picture_of_key,
    stream_key,
    write_facts,
)
from service.storage.references import References
from service.storage.servers import servers
from service.storage.waiting import MOST_MEMORY, Taken, Waiting, queue_drop, queue_keep, watch_lease

BACKUP = "compass:backup"
"""When the last complete backup began."""
RECORD_SECONDS = 3.0
"""How long a record is believed: so long a picture may be known here that another service has deleted."""
_BATCH = 500
_BESIDE = 64 * 1024
"""Bytes of facts, keys and listing that are written with a picture, and more."""

_COPIES = 3
"""So often an upload is in the store's memory while it arrives there."""

_TRIES = 3
"""So often a picture is read that changes while it is read."""

_RECORD = """
return {redis.pcall('GET', KEYS[1]), redis.pcall('GETRANGE', KEYS[2], 0, ARGV[1])}
"""
"""Facts and the first bytes of the stream, as they are at one moment."""

R = TypeVar("R")
Found = Record | NotFound | DamagedStream | UnknownFormat
"""What is known of a picture, or why nothing is."""


class Store:
    """Reads and writes pictures. Raises StoreUnavailable, StoreFull, NotFound, DamagedStream or
    UnknownFormat.

    ``waiting`` are those that wait to be refined, ``leases`` tell whose a picture is to be coded anew,
    ``references`` who needs which original, ``jobs`` how far uploads are, ``cold`` is where large layers are,
    if not in Redis, and ``changes`` tells other services what was deleted or replaced.
    """

    def __init__(self, url: str, settings: Settings, metrics: Metrics, disk: Disk | None = None) -> None:
        """``disk``: what the server writes to, where that is known and must not run full."""
        self._metrics = metrics
        self._disk = disk
        self._records: TTLCache[str, Record] = TTLCache(max(1, settings.header_cache), RECORD_SECONDS)
        self._remembers = settings.header_cache > 0
        self._changed = 0  # so often changes were made or heard of; no read begun before one is remembered
        self._servers = servers(url, settings)
        promise = Promise(settings.store_replicas, settings.store_fsync, metrics)
        self._errands = Errands(self._servers, promise, settings.store_timeout, metrics)
        self._listing = Listing(self._errands)
        self._waiting_bytes = settings.refine_bytes
        self.cold = cold_tier_of(settings, self._errands, metrics)
        self.changes = Changes(self._errands)
        self.waiting = Waiting(self._errands)
        self.leases = Leases(self._errands)
        self.references = References(self._errands)
        self.jobs = JobBoard(self._errands)

    async def close(self) -> None:
        """Close all connections."""
        await self._servers.close()

    async def ping(self) -> None:
        """Return if the store answers, of a cluster one primary; raises StoreUnavailable."""
        await self._errands.any(lambda client: client.ping())

    async def memory(self) -> tuple[int, int]:
        """Bytes of memory the store uses and may use (0: no limit), of a cluster the fullest primary; raises
        StoreUnavailable.
        """
        found = await self._errands.each(_memory)
        return max(found, key=lambda one: (one[0] / one[1] if one[1] else 0, one[0]))

    async def put(
        self, record: Record, stream: bytes, alpha: tuple[bytes, ...], original: bytes | None = None
    ) -> Record:
        """Store a picture, whole or not at all; returns its record as it is stored.

        A picture that is there already, whatever its state, is written anew, keeps its age and lives as
        long as the longer of both lives. ``original``, the upload's bytes, lets it wait to be refined; where
        there is no room for them, that is counted.
        """
        size = len(stream) + sum(map(len, alpha))
        self._require_room(size)
        kept = original if original and await self._takes(record.id, size, original) else None
        before = b""

        async def write(pipe: Pipeline) -> Record:
            nonlocal before
            facts = replace(record.facts, cold=None)
            before = raw(await pipe.get(facts_key(record.id)))
            with suppress(DamagedStream):
                stored = parse_facts(before)
                if not expired(stored):
                    expires = later(facts.expires, stored.expires)
                    facts = replace(facts, created=stored.created, expires=expires)
            left = _milliseconds_left(facts.expires)
            pipe.multi()
            pipe.set(stream_key(record.id), stream, px=left)
            pipe.set(facts_key(record.id), write_facts(facts), px=left)
            pipe.delete(*alpha_keys(record.id)[len(alpha) :])  # of what was stored before, if anything
            for k, plane in enumerate(alpha):
                pipe.set(alpha_key(record.id, k), plane, px=left)
            if kept:
                queue_keep(pipe, record.id, kept, left)
            elif original:
                queue_drop(pipe, record.id)
            return replace(record, facts=facts)

        stored, answers = await self._transaction(record.id, write)
        if original and not await self._waits(record.id, original, bool(kept and answers[-1])):
            self._metrics.refinements.labels("unqueued").inc()
        await self.reindex(stored)
        if before:
            await self._tell(record.id)
        return stored

    async def offer(self, record: Record, original: bytes) -> bool:
        """Let a stored picture wait to be refined, however much waits already; False if it is gone, or if the
        store has no room for its upload.
        """

        async def write(pipe: Pipeline) -> bool:
            if not await pipe.get(facts_key(record.id)):
                return False
            left = int(await pipe.pttl(stream_key(record.id)))
            pipe.multi()
            queue_keep(pipe, record.id, original, left if left > 0 else None)
            return True

        self._require_room(len(original))
        await self.waiting.reserve(record.id, len(original), None)
        there, answers = await self._transaction(record.id, write)
        return await self._waits(record.id, original, there and bool(answers[-1]))

    async def replace(
        self, taken: Taken, record: Record, stream: bytes | None, effort: Effort
    ) -> Record | None:
        """Put a smaller stream of the same picture in the place of the one that ``record`` tells of, whole or
        not at all; None for ``stream``: no smaller one was found, and that alone is noted. The picture then
        waits no more.

        Returns the new record; None if nothing was written, because the picture is gone, has another stream
        by now, or is no longer ours to refine. Its life, age and alpha planes stay.
        """

        def change(facts: Facts) -> Facts:
            before = facts.refined.before_bytes if facts.refined else record.bytes
            cold = facts.cold if stream is None else None
            return replace(facts, refined=Refinement(effort, before), cold=cold)

        written = await self._exchange(
            record,
            stream,
            change,
            lambda pipe: watch_lease(pipe, taken),
            lambda pipe: queue_drop(pipe, taken.picture),
        )
        if written is not None:
            await self.waiting.forget(record.id)
        return written

    async def recode(self, lease: Lease, record: Record, stream: bytes) -> Record | None:
        """Put a stream of other weights in the place of the one that ``record`` tells of, whole or not at
        all. Nobody has searched for a smaller one of it.

        Returns as :meth:`replace` does; life, age and alpha planes stay, too.
        """
        return await self._exchange(
            record,
            stream,
            lambda facts: replace(facts, refined=None, cold=None),
            lambda pipe: watch_token(pipe, lease),
            lambda pipe: None,
        )

    async def cool(self, lease: Lease, record: Record, start: bytes, cold: Cold) -> Record | None:
        """Leave the ``start`` of a stream here, and note where the rest is now. Returns as :meth:`replace`
        does.
        """
        return await self._exchange(
            record,
            start,
            lambda facts: replace(facts, cold=cold),
            lambda pipe: watch_token(pipe, lease),
            lambda pipe: None,
        )

    async def _exchange(
        self,
        record: Record,
        stream: bytes | None,
        change: Callable[[Facts], Facts],
        watch: Callable[[Pipeline], Awaitable[bool]],
        also: Callable[[Pipeline], None],
    ) -> Record | None:
        """Write a stream (None: the facts alone) if the stored one is that of ``record`` and ``watch`` says
        that it is ours, with what ``also`` queues; None if it was not written.
        """
        header = record.header if stream is None else read_header(stream)

        async def write(pipe: Pipeline) -> Record | None:
            ours = await watch(pipe)
            start = raw(await pipe.getrange(stream_key(record.id), 0, MAX_HEADER_BYTES - 1))
            text = raw(await pipe.get(facts_key(record.id)))
            if not ours or assemble(record.id, text, start).header != record.header:
                return None
            facts = change(parse_facts(text))
            pipe.multi()
            if stream is not None:
                pipe.set(stream_key(record.id), stream, xx=True, keepttl=True)
            pipe.set(facts_key(record.id), write_facts(facts), xx=True, keepttl=True)
            also(pipe)
            return Record(record.id, header, facts)

        self._require_room(len(stream or b""))
        try:
            written = (await self._transaction(record.id, write))[0]
        except NotFound:
            return None
        if written is not None and written.header != record.header:
            await self._tell(record.id)
        return written

    async def amend(self, record: Record, change: Callable[[Facts], Facts]) -> Record | None:
        """Change the facts of a stored picture, and nothing else; None if it is gone."""

        async def write(pipe: Pipeline) -> Record | None:
            stored = raw(await pipe.get(facts_key(record.id)))
            if not stored:
                return None
            facts = change(parse_facts(stored))
            pipe.multi()
            pipe.set(facts_key(record.id), write_facts(facts), xx=True, keepttl=True)
            return replace(record, facts=facts)

        self._require_room(0)
        return (await self._transaction(record.id, write))[0]

    async def record(self, picture: str, fresh: bool = False) -> Record:
        """What is known of a picture; ``fresh`` asks Redis even if the answer is in memory."""
        known = None if fresh else self._remembered(picture)
        if known is not None:
            self._metrics.cache_hits.labels("headers").inc()
            return known
        (found,) = await self._records_of([picture])
        with self._errands.errors():
            if isinstance(found, ServiceError):
                raise found
        return found

    def remembers(self, record: Record) -> bool:
        """Whether this very record would be given now, without asking Redis."""
        return self._remembered(record.id) is record

    async def _records_of(self, pictures: Sequence[str]) -> list[Found]:
        """What Redis knows of pictures, or why nothing is known of one; asked for all at once."""
        changed = self._changed
        wanted = [(facts_key(picture), partial(_queue_record, picture=picture)) for picture in pictures]
        answers = await self._errands.read_all(wanted)
        found: list[Found] = []
        for picture, (facts, start) in zip(pictures, answers, strict=True):
            self._records.pop(picture, None)
            self._metrics.bytes_read.inc(len(raw(start)))
            try:
                record = assemble(picture, _checked(picture, facts), _checked(picture, start))
            except (NotFound, DamagedStream, UnknownFormat) as error:
                found.append(error)
                continue
            found.append(record)
            if self._remembers and changed == self._changed:
                self._records[picture] = record
        return found

    async def verify(self, picture: str) -> Record:
        """The record of a picture, after all of it was read and checked, as :meth:`whole` does."""
        return (await self.whole(picture))[0]

    async def whole(self, picture: str) -> tuple[Record, bytes, tuple[bytes, ...]]:
        """All of a picture, its stream and its alpha planes, checked: its facts, every checksum and length.

        Raises DamagedStream, UnknownFormat or NotFound; ObjectsUnavailable if a part of it lies where nobody
        answers. What is read is not counted: it is in no answer.
        """
        for _ in range(_TRIES - 1):
            with suppress(Replaced):
                return await self._whole(picture)
        return await self._whole(picture)

    async def _whole(self, picture: str) -> tuple[Record, bytes, tuple[bytes, ...]]:
        """As :meth:`whole`. Raises Replaced, too, if it changes meanwhile."""
        facts, kept, alpha = await self._errands.read(
            facts_key(picture),
            lambda client: together(
                client,
                lambda pipe: pipe.get(facts_key(picture)),
                lambda pipe: pipe.get(stream_key(picture)),
                lambda pipe: pipe.mget(alpha_keys(picture)),
            ),
        )
        with self._errands.errors():
            record = assemble(picture, _checked(picture, facts), _checked(picture, kept))
            planes = _answer(picture, alpha)[: len(record.facts.alpha)]
            stream, cold = raw(kept), record.facts.cold
            if cold is not None:
                stream = stream[: cold.start] + await self._from_cold(record, cold, record.header.total)
                if len(stream) == record.header.total:
                    await asyncio.to_thread(check_cold, record, stream)
            try:
                await asyncio.to_thread(verify, stream)
            except StreamError as error:
                raise DamagedStream(f"the stored stream of {picture}: {error}") from error
            for k, plane in enumerate(planes):
                check_alpha(record, k, raw(plane))
        return record, stream, tuple(map(raw, planes))

    async def prefix(self, record: Record, layer: int) -> bytes:
        """The first bytes of the stream, up to the end of ``layer``, every checksum verified in a thread."""
        data = await self.unverified_prefix(record, layer)
        with self._errands.errors():
            try:
                await asyncio.to_thread(_verify_layers, record.header, layer, data)
            except StreamError as error:
                self._records.pop(record.id, None)
                raise DamagedStream(f"the stored stream of {record.id}: {error}") from error
        return data

    async def header(self, record: Record) -> bytes:
        """The bytes of a stream's header. Raises Replaced if it is another one by now."""
        data = await self._start(record, record.header.length)
        with self._errands.errors():
            if assemble(record.id, write_facts(record.facts).encode(), data).header != record.header:
                raise Replaced(f"the stream of {record.id} is another one by now")
        return data

    async def unverified_prefix(self, record: Record, layer: int) -> bytes:
        """As :meth:`prefix`, with no more than its header and its length checked. Raises Replaced, too: then
        the picture has another stream than ``record`` tells of, and a fresh record tells of that.

        For those who verify what they decode, and tell :meth:`found_damaged` what they find.
        """
        end, cold = record.header.layers[layer].end, record.facts.cold
        warm = end if cold is None else min(end, cold.start)
        data = await self._start(record, warm)
        self._metrics.bytes_read.inc(len(data))
        if not data:
            self._records.pop(record.id, None)
            raise NotFound(f"no picture {record.id}")
        with self._errands.errors():
            try:
                if read_header(data) != record.header:
                    raise Replaced(f"the stream of {record.id} is another one by now")
                if len(data) < warm and cold is None and await self._was_moved(record):
                    raise Replaced(f"the large layers of {record.id} lie elsewhere by now")
                if len(data) == warm < end and cold is not None:
                    data += await self._from_cold(record, cold, end)
                if len(data) < end:
                    raise DamagedStream(f"the stream of {record.id} ends at byte {len(data)}, not {end}")
            except StreamError as error:
                self._records.pop(record.id, None)
                raise DamagedStream(f"the stored stream of {record.id}: {error}") from error
            except (DamagedStream, Replaced):
                self._records.pop(record.id, None)
                raise
        return data

    async def _start(self, record: Record, end: int) -> bytes:
        """The bytes of a stream that are in Redis, up to byte ``end`` of it."""
        key = stream_key(record.id)
        return raw(await self._errands.read(key, lambda client: client.getrange(key, 0, end - 1)))

    async def _was_moved(self, record: Record) -> bool:
        """Whether layers are in the cold tier by now that a record says are here."""
        return (await self.record(record.id, fresh=True)).facts.cold is not None

    async def _from_cold(self, record: Record, cold: Cold, end: int) -> bytes:
        """The cold bytes of a stream up to its byte ``end``. Raises Replaced if they lie elsewhere by now."""
        try:
            return await self.cold.read(record.id, cold, end)
        except DamagedStream:
            if (await self.record(record.id, fresh=True)).facts.cold != cold:
                raise Replaced(f"the large layers of {record.id} lie elsewhere by now") from None
            raise

    def forget(self, pictures: Collection[str] | None) -> None:
        """Remember nothing of pictures that another service has changed; None: of all."""
        self._changed += 1
        for picture in list(self._records) if pictures is None else pictures:
            self._records.pop(picture, None)

    def found_damaged(self, picture: str) -> None:
        """Count a picture whose stream was found damaged elsewhere, and forget what is known of it."""
        self._metrics.damaged.inc()
        self._records.pop(picture, None)

    async def alpha(self, record: Record, layer: int) -> bytes | None:
        """The coded alpha plane of a layer, None for an opaque picture."""
        if not record.facts.alpha:
            return None
        key = alpha_key(record.id, layer)
        data = raw(await self._errands.read(key, lambda client: client.get(key)))
        with self._errands.errors():
            if not data:
                self._records.pop(record.id, None)
                raise NotFound(f"no picture {record.id}")
            check_alpha(record, layer, data)
        self._metrics.bytes_read.inc(len(data))
        return data

    async def delete(self, picture: str) -> None:
        """Delete whatever is stored under an id, readable or not. Raises NotFound if there is nothing: that,
        too, is only said when it is as safe as a deletion.
        """

        async def deleting(client: redis.Redis) -> list[Any]:
            answers = await together(
                client,
                lambda pipe: pipe.get(facts_key(picture)),
                lambda pipe: pipe.delete(*all_keys(picture)),
                lambda pipe: queue_tokens(pipe, picture),
                lambda pipe: queue_revocation(pipe, picture),
                lambda pipe: queue_drop(pipe, picture),
            )
            if not answers[1]:
                await self._errands.promise.follow(client, facts_key(picture))
            return answers

        with self._changing(picture):
            facts, deleted, tokens, _, waited = await self._errands.write(facts_key(picture), deleting)
        await self.changes.tell(picture)  # again, if it is gone: whoever deleted it may have ended before
        if waited:
            await self.waiting.forget(picture)
        if not deleted:
            raise NotFound(f"no picture {picture}")
        with suppress(DamagedStream, StoreUnavailable):  # then it goes from the listing when that is read
            await self._listing.drop(picture, index_entry(picture, parse_facts(raw(facts))))
        if isinstance(tokens, set) and self.cold.is_set:
            await self.cold.delete(picture, tokens)

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
                queue_revocation(pipe, picture)
                queue_drop(pipe, picture)

        await self._transaction(picture, write)
        await self._tell(picture)

    async def extend(self, record: Record, expires: float | None) -> Record | None:
        """Let a picture live at least until ``expires`` (None: for ever); None if it is gone."""
        if later(record.facts.expires, expires) == record.facts.expires:
            return record
        self._require_room(0)
        keys = [stream_key(record.id), *(alpha_key(record.id, k) for k in range(len(record.facts.alpha)))]

        async def write(pipe: Pipeline) -> Record | None:
            stored = raw(await pipe.get(facts_key(record.id)))
            if not stored or await pipe.exists(*keys) < len(keys):
                return None
            facts = parse_facts(stored)
            facts = replace(facts, expires=later(facts.expires, expires))
            left = _milliseconds_left(facts.expires)
            pipe.multi()
            pipe.set(facts_key(record.id), write_facts(facts), px=left)
            for key in (*keys, original_key(record.id)):
                pipe.persist(key) if left is None else pipe.pexpire(key, left)
            return replace(record, facts=facts)

        return (await self._transaction(record.id, write))[0]

    async def page(self, cursor: str | None, limit: int) -> tuple[list[Record], str | None]:
        """Up to ``limit`` pictures, newest first, after ``cursor``; and the next cursor, if any.

        Entries of pictures that are gone are removed; damaged pictures, and those of another version of the
        format, are left out.
        """
        entries = await self._listing.entries(cursor, limit)
        records = [found for found in await self._listed(entries) if isinstance(found, Record)]
        named = [entry.decode() for entry in entries if is_index_entry(entry)]
        return records, named[-1] if named and len(entries) == limit else None

    async def prune(self) -> int:
        """Remove all entries of the listing whose pictures are gone; returns how many these were."""
        removed, cursor = 0, None
        while entries := await self._listing.entries(cursor, _BATCH):
            removed += sum(isinstance(found, NotFound) for found in await self._listed(entries))
            cursor = entries[-1]
        return removed

    async def _listed(self, entries: Sequence[bytes]) -> list[Found]:
        """The records of entries of the listing, or why there is none; entries of what is gone are removed.

        A picture stored again after it had expired has a new entry, and the old one is nobody's.
        """
        found: dict[bytes, Found] = {}
        for entry in entries:
            known = self._remembered(picture_of(entry))  # perhaps the picture's last life
            if known is not None and known.index_entry.encode() == entry:
                found[entry] = known
        unknown = [entry for entry in entries if entry not in found]
        for entry, record in zip(
            unknown, await self._records_of(list(map(picture_of, unknown))), strict=True
        ):
            listed = not isinstance(record, Record) or record.index_entry.encode() == entry
            found[entry] = record if listed else NotFound("a picture of another life")
            if isinstance(record, DamagedStream):
                self._metrics.damaged.inc()
        gone = [entry for entry in entries if isinstance(found[entry], NotFound)]
        if gone:
            await self._listing.remove(gone)
        return [found[entry] for entry in entries]

    async def ids(self) -> AsyncIterator[str]:
        """Every picture id in the store, in no order, perhaps more than once."""
        async for key in self._errands.keys("{*}:stream"):
            picture = picture_of_key(key)
            if picture is not None:  # others' keys are none of our business
                yield picture

    async def look_up(self, pictures: Sequence[str]) -> list[Found]:
        """What is known of pictures, or why nothing is known of one; asked for all at once."""
        return await self._records_of(pictures) if pictures else []

    async def all_records(self) -> AsyncIterator[Record]:
        """Every readable picture in the store, once, in no order; only headers are read."""
        async for _, found in self.all_found():
            if isinstance(found, Record):
                yield found

    async def all_found(self) -> AsyncIterator[tuple[str, Found]]:
        """Every picture in the store, once, in no order: its record, or why there is none."""
        seen: set[str] = set()
        batch: list[str] = []
        async for picture in self.ids():
            if picture not in seen:
                seen.add(picture)
                batch.append(picture)
            if len(batch) == _BATCH:
                for one in zip(batch, await self.look_up(batch), strict=True):
                    yield one
                batch.clear()
        for one in zip(batch, await self.look_up(batch), strict=True):
            yield one

    async def note_backup(self, began: float) -> None:
        """Remember when the last complete backup began, in seconds since 1970."""
        await self._errands.write(BACKUP, lambda client: client.set(BACKUP, f"{began:.3f}"))

    async def last_backup(self) -> float | None:
        """When it began; None if there was none."""
        found = raw(await self._errands.read(BACKUP, lambda client: client.get(BACKUP)))
        return float(found) if found else None

    async def move_listing(self) -> int:
        """Move what earlier versions have listed to where this one does; returns how many pictures that were.
        It is read from both places meanwhile. Raises StoreUnavailable or StoreFull.
        """
        return await self._listing.move()

    async def confirm(self, record: Record) -> None:
        """Return when what is stored of a picture is as safe as is promised of what is written now: whoever
        wrote it may have died before it was. Raises StoreUnavailable; NotFound if whoever is the primary now
        has no such picture, though the one that was read, and was taken for the primary, had it.
        """
        key = facts_key(record.id)
        if not self._errands.promise.asked:
            return

        async def following(client: redis.Redis) -> int:
            there = int(await client.exists(key, stream_key(record.id)))
            await self._errands.promise.follow(client, key)
            return there

        if await self._errands.write(key, following) < 2:
            self._records.pop(record.id, None)
            raise NotFound(f"no picture {record.id}")

    async def reindex(self, record: Record) -> bool:
        """Put a picture into the listing; True if it was missing there.

        A full store leaves it out, to be put there by a later check: nothing else depends on it.
        """
        if await self._listing.has(record):
            return False
        with suppress(StoreFull):
            self._require_room(0)
            return await self._listing.add(record)
        return False

    def _require_room(self, size: int) -> None:
        """Raise StoreFull if the disk has no room for so many bytes and what is written beside them."""
        if self._disk is not None:
            self._disk.require(size + _BESIDE)

    async def _takes(self, picture: str, size: int, original: bytes) -> bool:
        """Whether disk, memory and queue have room for an upload beside a picture of ``size`` bytes; then it
        has its room in the queue.
        """
        try:
            self._require_room(size + len(original))
            used, limit = await self._errands.read(facts_key(picture), _memory)
            if limit and used + size + _COPIES * len(original) >= MOST_MEMORY * limit:
                return False
            return await self.waiting.reserve(picture, len(original), self._waiting_bytes)
        except (StoreFull, StoreUnavailable):
            return False

    async def _waits(self, picture: str, original: bytes, kept: bool) -> bool:
        """Let a picture wait whose upload was ``kept``, and give back its room in the queue if it was not."""
        if kept:
            await self.waiting.enter(picture, len(original))
        else:
            await self.waiting.forget(picture)
        return kept

    async def _transaction(
        self, picture: str, write: Callable[[Pipeline], Awaitable[R]]
    ) -> tuple[R, list[Any]]:
        """Run ``write``, again whenever another client has changed the picture's facts meanwhile; returns
        what it returned, and the answers to its commands.

        ``write`` reads what it needs, calls ``multi`` and queues its commands, which are carried out
        together or not at all. Raises StoreUnavailable if that does not succeed in time, or if the
        connection is lost: then nobody knows whether they were.
        """

        async def watched(client: redis.Redis) -> tuple[R, list[Any]]:
            while True:
                async with client.pipeline(transaction=True) as pipe:
                    try:
                        await pipe.watch(facts_key(picture))
                        result = await write(pipe)
                        answers = await pipe.execute()
                    except WatchError as error:
                        if isinstance(error.__context__, RedisError):  # the connection was lost
                            raise
                    else:
                        return result, answers

        with self._changing(picture):
            return await self._errands.write(facts_key(picture), watched)

    async def _tell(self, picture: str) -> None:
        """Tell others of a change, if that can be had: they find out by themselves soon."""
        with suppress(StoreUnavailable):
            await self.changes.tell(picture)

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
            self._changed += 1
            self._records.pop(picture, None)


def _verify_layers(header: Header, last: int, data: bytes) -> None:
    """Check every checksum up to the layer ``last``. Raises a StreamError."""
    for layer in range(last + 1):
        verify_layer(header, layer, data)


def _queue_record(pipe: Pipeline, picture: str) -> None:
    pipe.eval_ro(_RECORD, 2, facts_key(picture), stream_key(picture), MAX_HEADER_BYTES - 1)


async def _memory(client: redis.Redis) -> tuple[int, int]:
    """Bytes of memory a server uses and may use."""
    facts = await client.info("memory")
    return int(facts["used_memory"]), int(facts["maxmemory"])


def _answer(picture: str, value: Any) -> Any:
    """An answer of Redis. Raises DamagedStream if it says that a key is no string."""
    if is_of_another_type(value):
        raise DamagedStream(f"what is stored of {picture} is of another type")
    return value


def _checked(picture: str, value: object) -> bytes:
    """The same as bytes."""
    return raw(_answer(picture, value))


def _milliseconds_left(expires: float | None) -> int | None:
    """How long a key still lives, in milliseconds; None: for ever."""
    return None if expires is None else max(1, round(1000 * (expires - time.time())))
