"""Coding stored pictures anew: one picture after the other, each taken, coded, replaced.

A picture keeps its id, its layers, its quality, its transparency and its life. It is only replaced by a
stream that was decoded once in the process that coded it, that is checked whole here, and that takes the
place of exactly the stream that was read. So a picture has its old stream or its new one whenever the work
ends.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Literal

from model.errors import StreamError
from model.stream.container import Header, read_header, verify
from service.errors import (
    DamagedStream,
    NotFound,
    ObjectsUnavailable,
    Replaced,
    ServiceError,
    Stopping,
    StoreFull,
    StoreUnavailable,
)
from service.messages.jobs import Recode, Recoded
from service.planning.identity import stream_name
from service.storage import outcomes
from service.storage.leases import Lease, renewed
from service.storage.originals import Originals
from service.storage.records import Record
from service.storage.store import Store

log = logging.getLogger("compass")

Ending = Literal["recoded", "current", "without", "taken", "gone", "failed"]
"""How it ended: replaced; of the current model already; without an original, and so left; another process has
it; deleted, or given another stream, meanwhile; left as it is, for a reason that is logged.
"""


Outcome = outcomes.Outcome[Ending]


class Recoding:
    """Codes pictures of a store anew with ``code``, which raises what
    :meth:`service.engine.refiner.Refiner.recode` does, and whose weights are ``model_id``.

    Pictures whose upload is kept among the ``originals`` are coded from it. The others are left as they are,
    or coded ``from_layers``, from the largest layer stored, which adds its errors to those of the new stream.
    """

    def __init__(
        self,
        store: Store,
        originals: Originals | None,
        model_id: bytes,
        code: Callable[[Recode], Awaitable[Recoded]],
        from_layers: bool = False,
    ) -> None:
        self._store = store
        self._originals = originals
        self._model_id = model_id
        self._code = code
        self._from_layers = from_layers

    def concerns(self, record: Record) -> bool:
        """Whether a picture was coded with other weights."""
        return not record.header.is_graphic and record.header.model_id != self._model_id

    async def one(self, picture: str) -> Outcome:
        """Code a picture anew. Raises StoreUnavailable, ObjectsUnavailable, StoreFull or Stopping; then it is
        as it was, and can be taken again.
        """
        lease = await self._store.leases.take(picture)
        if lease is None:
            return Outcome(picture, "taken")
        coding = asyncio.create_task(self._recoded(lease))
        renewing = asyncio.create_task(renewed(lambda: self._store.leases.renew(lease)))
        try:
            await asyncio.wait((coding, renewing), return_when=asyncio.FIRST_COMPLETED)
            if not coding.done():  # the lease was lost, and with it the right to write
                return Outcome(picture, "taken")
            return coding.result()
        except NotFound:
            return Outcome(picture, "gone")
        except (Stopping, StoreFull, StoreUnavailable, ObjectsUnavailable):
            raise
        except ServiceError as error:
            log.warning("picture %s stays as it is: %s", picture, error)
            return Outcome(picture, "failed")
        finally:
            for task in (renewing, coding):
                task.cancel()
            await asyncio.gather(renewing, coding, return_exceptions=True)
            with suppress(ServiceError):
                await self._store.leases.give_back(lease)

    async def _recoded(self, lease: Lease) -> Outcome:
        record = await self._store.record(lease.picture, fresh=True)
        if not self.concerns(record):
            return Outcome(record.id, "current")
        try:
            source = await self._source(record)
        except Replaced as error:
            raise NotFound("the picture has another stream by now") from error
        if source is None:
            return Outcome(record.id, "without")
        found = await self._code(source)
        await asyncio.to_thread(_check, found.stream, record.header, self._model_id)
        kept = await self._store.recode(lease, record, found.stream)
        if kept is None:
            return Outcome(record.id, "gone", seconds=found.seconds)
        return Outcome(record.id, "recoded", record.bytes, kept.bytes, found.seconds)

    async def _source(self, record: Record) -> Recode | None:
        """What a picture is coded from: its original, else its layers if they may be; None if neither."""
        key = f"{record.id} {stream_name(record.header)}"
        keep_gamut = bool(record.facts.profile)
        digest = record.facts.original
        if digest and self._originals is not None:
            try:
                data = await self._originals.read(digest)
            except NotFound as error:
                if not self._from_layers:
                    raise DamagedStream("its original is missing") from error
            else:
                return Recode(key, data, await self._store.header(record), keep_gamut)
        if not self._from_layers:
            return None
        stream = await self._store.prefix(record, len(record.header.layers) - 1)
        return Recode(key, b"", stream, keep_gamut)


def _check(stream: bytes, old: Header, model_id: bytes) -> None:
    """Raise DamagedStream if this is not a whole stream of those weights and the same layers: a worker has
    touched hostile pictures.
    """
    try:
        verify(stream)
        new = read_header(stream)
    except StreamError as error:
        raise DamagedStream(f"the new stream is not whole: {error}") from error
    if new.model_id != model_id or new.sizes != old.sizes or new.is_graphic:
        raise DamagedStream("the new stream is not one of the same layers")
