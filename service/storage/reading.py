"""Pictures are read by prefix, and checked on every read.

What is known of a picture, its *record*, is remembered for a few seconds: it is asked for with every answer.
"""

import asyncio
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from cachetools import TTLCache
from redis.asyncio.client import Pipeline

from model.errors import StreamError
from model.stream.container import MAX_HEADER_BYTES, Header, read_header, verify, verify_layer
from service.errors import DamagedStream, Expired, NotFound, Replaced, ServiceError, UnknownFormat
from service.metrics import Metrics
from service.storage.cold import ColdTier
from service.storage.errands import Errands, is_of_another_type, raw, together
from service.storage.records import (
    Cold,
    Record,
    alpha_key,
    alpha_keys,
    assemble,
    check_alpha,
    check_cold,
    expired,
    facts_key,
    stream_key,
    write_facts,
)

RECORD_SECONDS = 3.0
"""How long a record is believed: so long a picture may be known here that another service has deleted."""
_TRIES = 3
"""So often a picture is read that changes while it is read."""

_RECORD = """
return {redis.pcall('GET', KEYS[1]), redis.pcall('GETRANGE', KEYS[2], 0, ARGV[1])}
"""
"""Facts and the first bytes of the stream, as they are at one moment."""

Found = Record | NotFound | DamagedStream | UnknownFormat
"""What is known of a picture, or why nothing is."""


def is_gone(found: Found) -> bool:
    """Whether the store has no such picture any more; not while it still has one whose time is over here."""
    return isinstance(found, NotFound) and not isinstance(found, Expired)


class Reader:
    """Reads pictures from Redis, and from the ``cold`` tier what lies there.

    Raises StoreUnavailable, NotFound, DamagedStream or UnknownFormat.
    """

    def __init__(self, errands: Errands, cold: ColdTier, header_cache: int, metrics: Metrics) -> None:
        """``header_cache``: how many records are remembered."""
        self._errands = errands
        self._metrics = metrics
        self.cold = cold
        self._records: TTLCache[str, Record] = TTLCache(max(1, header_cache), RECORD_SECONDS)
        self._remembers = header_cache > 0
        self._changed = 0  # so often changes were made or heard of; no read begun before one is remembered

    async def record(self, picture: str, fresh: bool = False) -> Record:
        """What is known of a picture; ``fresh`` asks Redis even if the answer is in memory."""
        known = None if fresh else self.remembered(picture)
        if known is not None:
            self._metrics.cache_hits.labels("headers").inc()
            return known
        (found,) = await self.look_up([picture])
        with self._errands.errors():
            if isinstance(found, ServiceError):
                raise found
        return found

    def remembers(self, record: Record) -> bool:
        """Whether this very record would be given now, without asking Redis."""
        return self.remembered(record.id) is record

    async def look_up(self, pictures: Sequence[str]) -> list[Found]:
        """What Redis knows of pictures, or why nothing is known of one; asked for all at once."""
        if not pictures:
            return []
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
        if not data:
            raise NotFound(f"no picture {record.id}")
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

    def forget(self, pictures: Collection[str] | None) -> None:
        """Remember nothing of pictures that another service has changed; None: of all."""
        self._changed += 1
        for picture in list(self._records) if pictures is None else pictures:
            self._records.pop(picture, None)

    def found_damaged(self, picture: str) -> None:
        """Count a picture whose stream was found damaged elsewhere, and forget what is known of it."""
        self._metrics.damaged.inc()
        self._records.pop(picture, None)

    def remembered(self, picture: str) -> Record | None:
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


def _answer(picture: str, value: Any) -> Any:
    """An answer of Redis. Raises DamagedStream if it says that a key is no string."""
    if is_of_another_type(value):
        raise DamagedStream(f"what is stored of {picture} is of another type")
    return value


def _checked(picture: str, value: object) -> bytes:
    """The same as bytes."""
    return raw(_answer(picture, value))
