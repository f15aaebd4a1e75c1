"""The pool of worker processes: takes jobs, hands them out, survives its workers.

``admission`` decides who may wait and who is next, ``dispatch`` which worker gets what,
``link`` holds one process, ``quarantine`` remembers which pictures end processes. Here they are
brought together: deadlines, answers, retries, respawning.
"""

import asyncio
import logging
import os
import time
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from service.engine.admission import HEAVY_COST, Admission, rendering_lane
from service.engine.devices import Place, places, refining_place
from service.engine.dispatch import Dispatcher
from service.engine.interface import EngineState, Fetch
from service.engine.link import WorkerAnswer, WorkerLink, error_of
from service.engine.quarantine import Quarantine
from service.engine.refiner import Refiner
from service.engine.ticket import LaneName, Ticket
from service.errors import (
    DeadlineExceeded,
    Overloaded,
    Quarantined,
    Stopping,
    WorkerFailed,
)
from service.messages.jobs import Recoded, Refine, Refined, Render, Rendered, Result, Upload, Uploaded
from service.messages.plans import RenderPlan
from service.messages.protocol import Begin, Failure
from service.settings import MIB, Settings

GRACE_SECONDS = 2.0
"""A worker that works this much longer than the whole time allowed for a job counts as hung."""
MAX_BACKOFF_SECONDS = 10.0
START_ATTEMPTS = 3

log = logging.getLogger(__name__)


class Pool:
    """The engine of this machine: worker processes, started by :meth:`start` and ended by :meth:`stop`.

    ``tasks`` names the class that does the work in the worker, as "module:class".
    Raises ServiceError if the settings ask for CUDA where there is none.
    """

    def __init__(
        self,
        settings: Settings,
        tasks: str = "service.worker.tasks:Tasks",
        found: Sequence[Place] | None = None,
    ) -> None:
        """``found``: the places of the processes, where they are not those that :func:`places` finds."""
        self._settings = settings
        self._tasks = tasks
        found = places(settings, os.environ) if found is None else found
        self._places = [place for place in found if not place.spare]
        self._spare_places = [place for place in found if place.spare]
        self._admission = Admission(settings, sum(place.pipelines for place in self._places))
        self._quarantine = Quarantine()
        self._links: dict[int, WorkerLink] = {}
        self._dispatcher = Dispatcher(self._admission, self._links, len(self._places))
        self._refiner = Refiner(settings, refining_place(settings, os.environ), tasks, lambda: self.busy)
        self._supervisors: list[asyncio.Task[None]] = []
        self._model_id: asyncio.Future[bytes] | None = None
        self._stopping = False
        self._drained = False
        self._stopped = False
        self._restarts: Counter[str] = Counter()
        self._events: Counter[str] = Counter()

    @property
    def ready(self) -> bool:
        """True while at least one worker can take work."""
        return any(link.ready for link in self._links.values())

    @property
    def busy(self) -> bool:
        """True while a rendering or an upload waits or is worked on."""
        return any(lane.active for lane in self._admission.lanes.values())

    @property
    def refiners(self) -> int:
        """How many pictures are refined at once."""
        return self._refiner.at_once

    @property
    def model_id(self) -> bytes:
        """Id of the weights that new pictures are coded with; known when :meth:`start` has returned."""
        if self._model_id is None:
            raise WorkerFailed("the pool has not been started")
        return self._model_id.result()

    @property
    def state(self) -> EngineState:
        """The pool's gauges and counters, for metrics."""
        lanes = self._admission.lanes.items()
        return EngineState(
            waiting={name: len(lane.waiting) for name, lane in lanes},
            running={name: len(lane.running) for name, lane in lanes},
            workers=sum(link.workers for link in self._links.values()),
            memory=sum(link.memory for link in self._links.values()) + self._refiner.memory,
            restarts=dict(self._restarts),
            retried=self._events["retried"],
            refused=self._events["refused"],
            late=self._events["late"],
            abandoned=self._events["abandoned"],
            quarantined=self._events["quarantined"],
        )

    @property
    def worker_pids(self) -> list[int]:
        """Process ids of the workers that run now, ready or not."""
        return [link.pid for link in self._links.values()]

    async def start(self) -> None:
        """Start all workers; returns when the first is ready.

        Raises WorkerFailed if none gets that far, however often it is tried.
        """
        self._model_id = asyncio.get_running_loop().create_future()
        self._fill(self._places)
        await self._model_id

    async def drain(self) -> None:
        """Refuse new jobs, wait for those accepted (at most ``drain_seconds``), fail the rest."""
        self._stopping = True
        await self._refiner.stop()
        accepted = [ticket.answer for ticket in self._accepted()]
        if accepted and not self._drained:
            await asyncio.wait(accepted, timeout=self._settings.drain_seconds)
        self._drained = True
        for ticket in self._accepted():
            ticket.fail(_stopping())

    async def stop(self) -> None:
        """The same, and end all workers."""
        await self.drain()
        self._stopped = True
        for supervisor in self._supervisors:
            supervisor.cancel()
        await asyncio.gather(*self._supervisors, return_exceptions=True)
        for ticket in self._accepted():
            ticket.fail(_stopping())

    def _accepted(self) -> list[Ticket]:
        lanes = self._admission.lanes.values()
        return [ticket for lane in lanes for ticket in (*lane.waiting, *lane.running)]

    async def upload(self, job: Upload, cost: float) -> Uploaded:
        """Code an upload; ``cost`` as for :meth:`render`. Raises a :class:`service.errors.ServiceError`.

        Never tried twice: the client is told, and nothing is half done.
        """
        result = await self._run(job, "upload", max(1.0, cost))
        if not isinstance(result, Uploaded):
            raise WorkerFailed("the worker gave an answer of another kind")
        return result

    async def carry_out(self, plan: RenderPlan, cost: float, fetch: Fetch) -> Rendered:
        """Fetch what the plan needs, unless it would be refused, and render it. Raises a ServiceError."""
        self.check(plan, cost)
        start = time.perf_counter()
        job = await fetch()
        seconds = {"fetch": time.perf_counter() - start}
        rendered = await self.render(job, cost)
        read = len(job.stream) + len(job.alpha or b"")
        return replace(rendered, bytes_read=read, seconds={**seconds, **rendered.seconds})

    async def render(self, job: Render, cost: float) -> Rendered:
        """Decode and write a layer; ``cost`` as :mod:`service.planning.cost` tells it. Raises a ServiceError.

        If the worker ends, the job is tried once more, in another one.
        """
        cost = max(1.0, cost)
        result = await self._run(job, rendering_lane(cost), cost)
        if not isinstance(result, Rendered) or result.media_type != f"image/{job.plan.format}":
            raise WorkerFailed("the worker gave an answer of another kind")
        return result

    async def refine(self, job: Refine) -> Refined:
        """Search for a smaller stream while nobody else has work for the pool. Raises a ServiceError."""
        return await self._refiner.refine(job)

    def forget(self, pictures: Collection[str] | None) -> None:
        """Let all workers keep no decoded layers of these pictures; None: of any picture."""
        for link in self._links.values():
            link.forget(pictures)

    def check(self, plan: RenderPlan, cost: float) -> None:
        """Raises what :meth:`render` would raise at once (Overloaded, Quarantined, WorkerFailed), so that
        nothing need be fetched for a job that will not be taken.
        """
        self._refiner.make_way()
        self._refuse(rendering_lane(cost), plan.key, plan.layer, cost)

    # one job

    async def _run(self, job: Upload | Render, lane: LaneName, cost: float) -> Result:
        self._refiner.make_way()
        now = time.monotonic()
        ticket = Ticket(job, lane, cost, now, now + self._seconds_allowed(lane, cost))
        self._refuse(lane, job.key, job.layer, cost)
        self._admission.enter(ticket)
        self._dispatcher.run()
        try:
            async with asyncio.timeout(ticket.allowed):
                result = await ticket.answer
        except TimeoutError:
            self._events["late"] += 1
            raise DeadlineExceeded(f"no answer within {ticket.allowed:.3g} seconds") from None
        except asyncio.CancelledError:
            self._events["abandoned"] += 1
            raise
        finally:
            self._admission.leave(ticket)
            if ticket.answer.cancelled():
                for link in self._links.values():
                    link.cancel(ticket)
        if isinstance(result, Refined | Recoded):
            return result
        return replace(result, seconds={**result.seconds, "queue": ticket.started - ticket.arrived})

    def _refuse(self, lane: LaneName, key: str, layer: int, cost: float) -> None:
        if self._stopping:
            raise _stopping()
        now = time.monotonic()
        try:
            self._quarantine.check(key, layer)
            self._admission.check(lane, cost, now, now + self._seconds_allowed(lane, cost))
        except (Overloaded, Quarantined) as error:
            self._events["refused" if isinstance(error, Overloaded) else "quarantined"] += 1
            raise

    def _seconds_allowed(self, lane: LaneName, cost: float) -> float:
        if lane == "upload":
            return self._settings.upload_deadline
        return self._settings.read_deadline * max(1.0, cost / HEAVY_COST)

    # what comes back

    def _answered(self, ticket: Ticket, answer: WorkerAnswer) -> None:
        if isinstance(answer, Failure):
            self._admission.finish(ticket, None)
            ticket.fail(error_of(answer))
        else:
            self._admission.finish(ticket, (time.monotonic() - ticket.started) / ticket.batch)
            ticket.resolve(answer.result)
        self._quarantine.absolve(ticket.key, ticket.layer)
        self._dispatcher.run()

    def _lost(self, ticket: Ticket, again: bool) -> None:
        """Account for the death of a worker of the cluster, which had this job."""
        self._restarts["crashed"] += 1
        self._events["retried"] += again
        self._quarantine.blame(ticket.key, ticket.layer)
        if not again:
            self._admission.finish(ticket, None)
            ticket.fail(WorkerFailed("the worker ended before it answered"))
            self._dispatcher.run()

    def _bury(self, link: WorkerLink, status: int) -> None:
        """Account for a worker that has ended, and for the jobs it had."""
        reason = link.reason or "crashed"
        if not self._stopped:
            self._restarts[reason] += 1
            log.warning(
                "worker %d ended (%s, status %d) with %d jobs",
                *(link.place.index, reason, status, len(link.running)),
            )
        for ticket in link.running.values():
            self._admission.finish(ticket, None)
            if self._stopped:
                ticket.fail(_stopping())
                continue
            if link.place.remote:  # it is nobody's fault that the cluster is lost
                ticket.fail(WorkerFailed("the cluster was lost"))
                continue
            if link.reason is None:  # it crashed; whoever hangs or grows may do so by what was asked of it
                self._quarantine.blame(ticket.key, ticket.layer)
            if not ticket.repeatable or ticket.attempts > 1:
                ticket.fail(WorkerFailed("the worker ended before it answered"))
            elif not ticket.answer.done():
                ticket.try_elsewhere(link.place.index)
                self._events["retried"] += 1
                self._admission.enter(ticket)
        self._dispatcher.run()

    # life and death

    def _fill(self, places: Iterable[Place]) -> None:
        self._supervisors += [asyncio.create_task(self._supervise(place)) for place in places]

    async def _supervise(self, place: Place) -> None:
        """Keep a worker running at this place, with growing pauses while it does no good."""
        failures = 0
        while True:
            try:
                link = await WorkerLink.start(place, self._begin(place))
            except OSError:
                log.exception("worker %d cannot be started", place.index)
                failures += 1
            else:
                await self._attend(link)
                failures = 0 if link.steady else failures + 1
            waited_for = self._model_id is not None and not self._model_id.done() and not place.remote
            if failures == START_ATTEMPTS and self._model_id is not None and waited_for:
                self._model_id.set_exception(WorkerFailed("the worker processes end before they are ready"))
            if failures:
                await asyncio.sleep(min(MAX_BACKOFF_SECONDS, 0.25 * 2**failures))

    async def _attend(self, link: WorkerLink) -> None:
        self._links[link.place.index] = link
        watcher = asyncio.create_task(self._watched(link))
        pixels = max(self._settings.max_pixels, self._settings.max_output_pixels)
        try:
            # No stream or picture is larger than its raw pixels and a little.
            await link.serve(5 * pixels + 16 * MIB, self._welcome, self._answered, self._lost)
        finally:
            watcher.cancel()
            del self._links[link.place.index]
            self._bury(link, await link.close())

    async def _watched(self, link: WorkerLink) -> None:
        """Watch a process that works itself; one that passes work on stands still without hanging."""
        if not link.place.remote:
            memory = self._settings.worker_memory_bytes
            await link.watch(lambda ticket: ticket.allowed + GRACE_SECONDS, memory)

    def _welcome(self, model_id: bytes) -> None:
        if self._model_id is not None and not self._model_id.done():
            self._model_id.set_result(model_id)
        if sum(link.ready for link in self._links.values()) >= len(self._places):
            self._fill(self._spare_places)  # they come last, lest the service be ready later
            self._spare_places = []
        self._dispatcher.run()

    def _begin(self, place: Place) -> Begin:
        return Begin(self._settings.for_worker, self._tasks, place.pipelines)


def _stopping() -> WorkerFailed:
    return Stopping("the service is stopping")
