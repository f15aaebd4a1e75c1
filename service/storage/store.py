"""Pictures in Redis: one stream per picture, written whole or not at all, or left as it was.

Keys of a picture: ``{id}:stream``, ``{id}:facts`` (JSON) and ``{id}:alpha:<layer>``, written in one
MULTI; the braces keep them together in a cluster. Who writes watches ``{id}:facts``, so that of several
times to live the longest holds, whoever comes last. :mod:`service.storage.reading` reads them,
:mod:`service.storage.listing` lists them by age, and :mod:`service.storage.waiting` tells which wait to be
refined.
"""

import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

import redis.asyncio as redis
from redis.asyncio.client import Pipeline
from redis.exceptions import RedisError, ResponseError, WatchError

from model.stream.container import MAX_HEADER_BYTES, read_header
from service.errors import DamagedStream, NotFound, StoreFull, StoreUnavailable
from service.metrics import Metrics
from service.settings import Settings
from service.storage.catalogue import Catalogue
from service.storage.changes import Changes
from service.storage.cold import cold_tier_of, queue_tokens, watch_cold
from service.storage.disk import Disk
from service.storage.errands import Errands, is_of_another_type, raw, together
from service.storage.jobs import JobBoard
from service.storage.leases import Lease, Leases, queue_revocation, watch_token
from service.storage.listing import Listing
from service.storage.promises import Promise
from service.storage.reading import Reader
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
    expired,
    facts_key,
    index_entry,
    later,
    original_key,
    parse_facts,
    stream_key,
    write_facts,
)
from service.storage.references import References
from service.storage.servers import servers
from service.storage.waiting import MOST_MEMORY, Taken, Waiting, queue_drop, queue_keep, watch_lease

BACKUP = "compass:backup"
"""When the last complete backup began."""
_BESIDE = 64 * 1024
"""Bytes of facts, keys and listing that are written with a picture, and more."""

_COPIES = 3
"""So often an upload is in the store's memory while it arrives there."""

_CUT = """
local left = redis.call('PTTL', KEYS[1])
if redis.call('DEL', KEYS[1]) == 0 then return 0 end
redis.call('SET', KEYS[1], ARGV[1])
redis.call('SET', KEYS[2], ARGV[2], 'KEEPTTL')
if left > 0 then redis.call('PEXPIRE', KEYS[1], left) end
return 1
"""
"""A stream's start and its facts in their place. It begins with a deletion, which a full store allows, and
with it what follows.
"""

R = TypeVar("R")


class Store(Reader):
    """Reads and writes pictures. Raises StoreUnavailable, StoreFull, NotFound, DamagedStream or
    UnknownFormat.

    ``catalogue`` tells which pictures there are, ``waiting`` which of them wait to be refined, ``leases``
    whose a picture is to be coded anew, ``references`` who needs which original, ``jobs`` how far uploads
    are, ``cold`` is where large layers are, if not in Redis, and ``changes`` tells other services what was
    deleted or replaced.
    """

    def __init__(self, url: str, settings: Settings, metrics: Metrics, disk: Disk | None = None) -> None:
        """``disk``: what the server writes to, where that is known and must not run full."""
        self._servers = servers(url, settings)
        promise = Promise(settings.store_replicas, settings.store_fsync, metrics)
        errands = Errands(self._servers, promise, settings.store_timeout, metrics)
        super().__init__(errands, cold_tier_of(settings, errands, metrics), settings.header_cache, metrics)
        self._disk = disk
        self._waiting_bytes = settings.refine_bytes
        self._listing = Listing(errands)
        self.catalogue = Catalogue(errands, self._listing, self, metrics)
        self.changes = Changes(errands)
        self.waiting = Waiting(errands)
        self.leases = Leases(errands)
        self.references = References(errands)
        self.jobs = JobBoard(errands)

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
            before = await _whatever(pipe, facts_key(record.id))
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

        async def watch(pipe: Pipeline) -> bool:
            return await watch_token(pipe, lease) and await watch_cold(pipe, record.id, cold)

        return await self._exchange(
            record, start, lambda facts: replace(facts, cold=cold), watch, lambda pipe: None, cut=True
        )

    async def _exchange(
        self,
        record: Record,
        stream: bytes | None,
        change: Callable[[Facts], Facts],
        watch: Callable[[Pipeline], Awaitable[bool]],
        also: Callable[[Pipeline], None],
        cut: bool = False,
    ) -> Record | None:
        """Write a stream (None: the facts alone) if the stored one is that of ``record`` and ``watch`` says
        that it is ours, with what ``also`` queues; None if it was not written.

        ``cut``: it is the start of the stored one, which makes room, so that a full store takes it.
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
            if cut and stream is not None:
                keys = stream_key(record.id), facts_key(record.id)
                pipe.eval(_CUT, 2, *keys, stream, write_facts(facts))
            else:
                if stream is not None:
                    pipe.set(stream_key(record.id), stream, xx=True, keepttl=True)
                pipe.set(facts_key(record.id), write_facts(facts), xx=True, keepttl=True)
            also(pipe)
            return Record(record.id, header, facts)

        if not cut:
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

    async def note_backup(self, began: float) -> None:
        """Remember when the last complete backup began, in seconds since 1970."""
        await self._errands.write(BACKUP, lambda client: client.set(BACKUP, f"{began:.3f}"))

    async def last_backup(self) -> float | None:
        """When it began; None if there was none."""
        found = raw(await self._errands.read(BACKUP, lambda client: client.get(BACKUP)))
        return float(found) if found else None

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
        except (StoreFull, StoreUnavailable, DamagedStream):
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


async def _whatever(pipe: Pipeline, key: str) -> bytes:
    """What a watched key holds; what is of another type is read as rubbish."""
    try:
        answer: Any = pipe.get(key)
        return raw(await answer)
    except ResponseError as error:
        if not is_of_another_type(error):
            raise
        return b"of another type"


async def _memory(client: redis.Redis) -> tuple[int, int]:
    """Bytes of memory a server uses and may use."""
    facts = await client.info("memory")
    return int(facts["used_memory"]), int(facts["maxmemory"])


def _milliseconds_left(expires: float | None) -> int | None:
    """How long a key still lives, in milliseconds; None: for ever."""
    return None if expires is None else max(1, round(1000 * (expires - time.time())))
