"""Refining what waits in the store: one picture after the other, each taken, searched, replaced.

A picture is only replaced by a stream that was decoded back and compared with the stored one in the process
that searched; here it is checked whole, and put in the place of exactly the stream that it was compared with.
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
    WorkerFailed,
)
from service.messages.jobs import Refine, Refined
from service.metrics import Metrics
from service.planning.identity import stream_name
from service.storage import outcomes
from service.storage.leases import renewed
from service.storage.records import Effort
from service.storage.store import Store
from service.storage.waiting import Taken

LOOK_SECONDS = 2.0
"""How often the store is asked for pictures while none waits."""
RETRY_SECONDS = 60.0
"""A picture whose search failed, or could not be written down, waits so long for the next."""

log = logging.getLogger("compass")

Ending = Literal["refined", "kept", "failed", "retried", "gone", "skipped", "unknown"]
"""How the refining of one picture ended: replaced by a smaller stream; left as it is, since none was found;
given up; to be tried again; deleted, or taken by others, meanwhile. By hand also: refined before; not stored,
or without its upload.
"""


Outcome = outcomes.Outcome[Ending]


class Refining:
    """Refines the pictures that wait in a store, with ``search``, which raises what
    :meth:`service.engine.refiner.Refiner.refine` does.
    """

    def __init__(
        self, store: Store, metrics: Metrics, effort: Effort, search: Callable[[Refine], Awaitable[Refined]]
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._effort = effort
        self._search = search

    async def for_ever(self) -> None:
        """Refine what waits, and wait for more. Whatever goes wrong is logged. Ends when it is cancelled."""
        while True:
            outcome = None
            try:
                outcome = await self.next()
            except Stopping:
                return
            except ServiceError as error:
                log.warning("refining was broken off: %s", error)
            except Exception:  # unforeseen, and no reason never to refine again
                log.exception("refining was broken off")
            if outcome is None:
                await asyncio.sleep(LOOK_SECONDS)

    async def next(self, picture: str = "") -> Outcome | None:
        """Refine the picture that has waited longest, or that one; None if none may be taken now.

        Raises StoreUnavailable, StoreFull, ObjectsUnavailable or Stopping; then the picture may be taken
        again.
        """
        taken, given_up = await self._store.waiting.take(picture)
        self._metrics.refinements.labels("failed").inc(given_up)
        if taken is None:
            return None
        searching = asyncio.create_task(self._refined(taken))
        renewing = asyncio.create_task(renewed(lambda: self._store.waiting.renew(taken)))
        try:
            await asyncio.wait((searching, renewing), return_when=asyncio.FIRST_COMPLETED)
            lost = not searching.done()  # the picture is gone, or somebody else's
        except asyncio.CancelledError:
            await _ended(renewing, searching)
            with suppress(ServiceError):
                await self._store.waiting.give_back(taken, untried=True)
            raise
        await _ended(renewing, *((searching,) if lost else ()))
        outcome = Outcome(taken.picture, "gone") if lost else await self._settled(taken, searching)
        self._count(outcome)
        return outcome

    async def _refined(self, taken: Taken) -> Outcome:
        """The search, and the writing of what it found."""
        record = await self._store.record(taken.picture, fresh=True)
        stream = await self._store.prefix(record, len(record.header.layers) - 1)
        data = await self._store.waiting.original(taken)
        key = f"{taken.picture} {stream_name(record.header)}"
        found = Refined(b"", 0.0)  # of a graphic
        if not record.header.is_graphic:
            keep_gamut = bool(record.facts.profile)
            found = await self._search(Refine(key, data, stream, self._effort, keep_gamut))
        if found.stream:
            await asyncio.to_thread(_check, found.stream, record.header)
        kept = await self._store.replace(taken, record, found.stream or None, self._effort)
        if kept is None:
            return Outcome(taken.picture, "gone", seconds=found.seconds)
        ending: Ending = "refined" if found.stream else "kept"
        return Outcome(taken.picture, ending, record.bytes, kept.bytes, found.seconds)

    async def _settled(self, taken: Taken, searching: "asyncio.Task[Outcome]") -> Outcome:
        """The outcome of a search that has ended, and what follows for the queue if it failed."""
        waiting = self._store.waiting
        try:
            return searching.result()
        except (Stopping, StoreUnavailable):
            with suppress(ServiceError):
                await waiting.give_back(taken, untried=True)
            raise
        except (StoreFull, ObjectsUnavailable):
            await waiting.give_back(taken, RETRY_SECONDS, untried=True)
            raise
        except Replaced:  # a damaged picture was stored anew at this moment
            await waiting.give_back(taken, untried=True)
            return Outcome(taken.picture, "retried")
        except NotFound:
            await waiting.finish(taken)
            return Outcome(taken.picture, "gone")
        except Exception as error:
            again = not taken.last and (
                isinstance(error, WorkerFailed) or not isinstance(error, ServiceError)
            )
            unforeseen = None if isinstance(error, ServiceError) else error
            what = "is tried again" if again else "stays as it is"
            log.warning(
                "picture %s cannot be refined and %s: %s", taken.picture, what, error, exc_info=unforeseen
            )
            if again:
                await waiting.give_back(taken, RETRY_SECONDS)
            else:
                await waiting.finish(taken)
            return Outcome(taken.picture, "retried" if again else "failed")

    def _count(self, outcome: Outcome) -> None:
        self._metrics.refinements.labels(outcome.ending).inc()
        self._metrics.refinement_seconds.inc(outcome.seconds)
        self._metrics.refinement_saved.inc(outcome.before - outcome.after)


async def _ended(*tasks: "asyncio.Task") -> None:
    """Cancel tasks, and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _check(stream: bytes, old: Header) -> None:
    """Raise DamagedStream if this is not a whole, smaller stream of the same layers and weights: a worker has
    touched hostile pictures.
    """
    try:
        verify(stream)
        new = read_header(stream)
    except StreamError as error:
        raise DamagedStream(f"the refined stream is not whole: {error}") from error
    shapes = [
        (header.model_id, [(layer.width, layer.height, layer.quality) for layer in header.layers])
        for header in (old, new)
    ]
    if shapes[0] != shapes[1] or len(stream) >= old.total:
        raise DamagedStream("the refined stream is no smaller stream of the same layers")
