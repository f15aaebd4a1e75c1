"""The lane below all others: one process that refines pictures, or codes them anew, while nobody else has
work.

It is a worker process of its own, so that what it does, and how it ends, is nothing to the others. The kernel
gives it a core only if nobody else wants one (SCHED_IDLE); and as soon as a rendering or an upload enters the
pool it is stopped where it stands (SIGSTOP), in the middle of a step, and goes on from there when all that
work is done. So nobody waits for a step, the search loses nothing, and its code need not know of
it. The process is started for the first picture, and ended when there is none for a while.

With a cluster it passes several pictures at once to workers that do nothing else, and stand back for others
of their machines in the same way. It is never stopped then, and started again as often as the cluster is
lost: what was under way is passed on again.
"""

import asyncio
import itertools
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from model.errors import StreamError
from model.stream.container import read_header
from service.engine.devices import Place
from service.engine.link import WorkerAnswer, WorkerLink, error_of
from service.engine.ticket import Ticket
from service.errors import DamagedStream, Stopping, WorkerFailed
from service.messages.jobs import Recode, Recoded, Refine, Refined, Result
from service.messages.protocol import Begin, Failure
from service.settings import MIB, Settings

QUIET_SECONDS = 0.25
"""Refining goes on so long after the last work has come at the earliest, and has been done at the latest."""
IDLE_SECONDS = 60.0
"""The process is ended when it has had nothing to do for so long."""
LAST = 19
"""Niceness, which counts where the kernel groups processes by session."""
CLUSTER_SECONDS = 2.0
"""A cluster that cannot be reached is tried again after so long."""
STILL_SECONDS = 120.0
"""One that gets the rest of the CPU alone may seem to stand still for long, and does not hang."""
_FIRST_SECONDS, _SECONDS = 300.0, {"fast": 300.0, "best": 1500.0, "recode": 60.0}
"""CPU seconds that a picture may take, for itself and for each megapixel of its largest layer: ten times what
it should.
"""

log = logging.getLogger(__name__)


class Refiner:
    """Refines as many pictures at once as ``place`` takes in a process there, which stands still while
    ``busy()``.

    Whoever makes it busy calls :meth:`make_way`. ``tasks`` as for :class:`service.engine.pool.Pool`.
    """

    def __init__(self, settings: Settings, place: Place, tasks: str, busy: Callable[[], bool]) -> None:
        self._settings = settings
        self._place = place
        self._begin = Begin(replace(settings.for_worker, niceness=LAST), tasks, pipelines=1)
        self._busy = busy
        self.at_once = place.pipelines
        self._turns = asyncio.Semaphore(place.pipelines)
        self._starting = asyncio.Lock()
        self._numbers = itertools.count(1)
        self._link: WorkerLink | None = None
        self._life: asyncio.Task[None] | None = None
        self._resuming: asyncio.TimerHandle | None = None
        self._ending: asyncio.TimerHandle | None = None
        self._stopped = False

    @property
    def pid(self) -> int | None:
        """The process that refines, or waits for more to refine; None if there is none."""
        return self._link.pid if self._link else None

    @property
    def memory(self) -> int:
        """Resident bytes of the process; 0 if there is none."""
        return self._link.memory if self._link else 0

    async def refine(self, job: Refine, told: Callable[[float], None] = lambda share: None) -> Refined:
        """Refine one picture, when it is its turn; ``told`` hears what share is done.

        If the caller gives up, the process is ended. Raises a :class:`service.errors.ServiceError`:
        WorkerFailed if the process ended, Stopping if it was stopped.
        """
        result = await self._result(job, _seconds_to_refine(job), told)
        if not isinstance(result, Refined):
            raise WorkerFailed("the worker gave an answer of another kind")
        return result

    async def recode(self, job: Recode) -> Recoded:
        """Code one picture anew. Otherwise as :meth:`refine`."""
        result = await self._result(job, _FIRST_SECONDS + _SECONDS["recode"] * _megapixels(job.stream))
        if not isinstance(result, Recoded):
            raise WorkerFailed("the worker gave an answer of another kind")
        return result

    async def _result(
        self, job: Refine | Recode, seconds: float, told: Callable[[float], None] = lambda share: None
    ) -> Result:
        """What the process makes of a job of at most so many CPU seconds."""
        async with self._turns:
            while True:
                async with self._starting:
                    link = await self._ready_link()
                now = time.monotonic()
                ticket = Ticket(job, "refine", 0.0, now, now + seconds, told)
                ticket.begin(now)
                link.send({next(self._numbers): ticket})
                try:
                    return await ticket.answer
                except WorkerFailed:
                    if not self._place.remote or link is self._link or self._stopped:
                        raise
                    # that the cluster was lost is not the picture's fault
                except asyncio.CancelledError:
                    if self._place.remote:
                        link.cancel(ticket)
                    else:
                        link.kill("abandoned")
                    raise
                finally:
                    self._end_later()

    def make_way(self) -> None:
        """Stand still, at once, and go on when nobody is busy any more."""
        if self._link is None or self._place.remote:
            return
        self._link.pause()
        if self._resuming is not None:
            self._resuming.cancel()
        self._resuming = asyncio.get_running_loop().call_later(QUIET_SECONDS, self._go_on_if_quiet)

    async def stop(self) -> None:
        """End the process; what it works on fails with Stopping."""
        self._stopped = True
        await self._end()

    def _go_on_if_quiet(self) -> None:
        self._resuming = None
        if self._link is None:
            return
        if self._busy():
            self.make_way()
        else:
            self._link.go_on()

    async def _ready_link(self) -> WorkerLink:
        """The process, ready for work. Raises WorkerFailed if it ends before, or cannot be started."""
        if self._stopped:
            raise Stopping("the service is stopping")
        if self._ending is not None:
            self._ending.cancel()
            self._ending = None
        if self._link is not None and not self._link.able:
            await self._end()
        while self._link is None and self._place.remote:  # a cluster is waited for
            try:
                return await self._started()
            except WorkerFailed:
                if self._stopped:
                    raise
                await asyncio.sleep(CLUSTER_SECONDS)
        return self._link or await self._started()

    async def _started(self) -> WorkerLink:
        """A new process, ready for work. Raises as :meth:`_ready_link`."""
        if self._link is None:
            ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            try:
                self._link = link = await WorkerLink.start(self._place, self._begin)
            except OSError as error:
                raise WorkerFailed(f"no process for refining can be started: {error}") from error
            self._life = asyncio.create_task(self._attend(link, ready))
            if self._busy():
                self.make_way()
            try:
                await ready
            except asyncio.CancelledError:
                link.kill("abandoned")
                raise
        assert self._link is not None
        return self._link

    async def _attend(self, link: WorkerLink, ready: "asyncio.Future[None]") -> None:
        """Live with the process until it ends."""
        watcher = asyncio.create_task(self._watched(link))

        def welcome(_: bytes) -> None:
            if not ready.done():
                ready.set_result(None)

        try:
            await link.serve(5 * self._settings.max_pixels + 16 * MIB, welcome, _answered, _lost)
        finally:
            watcher.cancel()
            if self._link is link:
                self._link = None
            status = await link.close()
            if link.reason is None and not self._stopped:
                log.warning("the process that refines ended (status %d)", status)
            kind = Stopping if self._stopped else WorkerFailed
            why = (
                "the service is stopping"
                if self._stopped
                else f"the process ended ({link.reason or 'crashed'})"
            )
            for ticket in link.running.values():
                ticket.fail(kind(why))
            if not ready.done():
                ready.set_exception(kind(why))

    async def _watched(self, link: WorkerLink) -> None:
        """Watch a process that works itself."""
        if not self._place.remote:
            memory = self._settings.worker_memory_bytes
            await link.watch(lambda ticket: ticket.allowed, memory, still_seconds=STILL_SECONDS)

    def _end_later(self) -> None:
        if self._link is not None and not self._stopped:
            self._ending = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._retire)

    def _retire(self) -> None:
        self._ending = None
        if self._link is not None and not self._link.running:
            self._link.kill("idle")

    async def _end(self) -> None:
        for timer in (self._resuming, self._ending):
            if timer is not None:
                timer.cancel()
        self._resuming = self._ending = None
        if self._link is not None:
            self._link.kill("stopped")
        if self._life is not None:
            with suppress(asyncio.CancelledError):
                await asyncio.shield(self._life)
            self._life = None


def _answered(ticket: Ticket, answer: WorkerAnswer) -> None:
    if isinstance(answer, Failure):
        ticket.fail(error_of(answer))
    else:
        ticket.resolve(answer.result)


def _lost(ticket: Ticket, again: bool) -> None:
    """A worker of the cluster has ended that had this job."""
    if not again:
        ticket.fail(WorkerFailed("the worker ended before it answered"))


def _seconds_to_refine(job: Refine) -> float:
    """CPU seconds until a search counts as hung. Raises DamagedStream."""
    return _FIRST_SECONDS + _SECONDS[job.effort] * _megapixels(job.stream)


def _megapixels(stream: bytes) -> float:
    """Those of a stream's largest layer. Raises DamagedStream."""
    try:
        top = read_header(stream).layers[-1]
    except StreamError as error:
        raise DamagedStream(str(error)) from error
    return top.width * top.height / 1e6
