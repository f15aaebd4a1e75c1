"""The pool of worker processes: takes jobs, hands them out, survives its workers.

``admission`` decides who may wait and who is next, ``dispatch`` which worker gets what,
``workerlink`` holds one process, ``quarantine`` remembers which pictures end processes. Here they are
brought together: deadlines, answers, retries, respawning.
"""

import asyncio
import hashlib
import logging
import os
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from service import errors
from service.engine.admission import HEAVY_COST, Admission, LaneName, Ticket
from service.engine.devices import Place, places
from service.engine.dispatch import Dispatcher
from service.engine.link import Answer, WorkerLink
from service.engine.quarantine import Quarantine
from service.errors import DeadlineExceeded, Overloaded, Quarantined, ServiceError, WorkerFailed
from service.messages.jobs import Render, Rendered, Upload, Uploaded
from service.messages.protocol import Begin, Failure
from service.settings import MIB, Settings

GRACE_SECONDS = 2.0
"""A worker that runs this much longer than the whole time allowed for a job counts as hung."""
MAX_BACKOFF_SECONDS = 10.0
START_ATTEMPTS = 3
KEPT_FROM_WORKERS = {"api_keys", "url_keys", "redis_url"}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PoolState:
    """What the pool is doing (``waiting`` and ``running`` by lane, ready workers with the spare ones,
    their resident bytes) and what has happened since its start (``restarts`` by reason, and counts of jobs).
    """

    waiting: dict[LaneName, int]
    running: dict[LaneName, int]
    workers: int
    memory: int
    restarts: dict[str, int]
    retried: int
    refused: int
    late: int
    abandoned: int
    quarantined: int


class Pool:
    """Worker processes, started by :meth:`start` and ended by :meth:`stop`.

    ``tasks`` names the class that does the work in the worker, as "module:class".
    Raises ServiceError if the settings ask for CUDA where there is none.
    """

    def __init__(self, settings: Settings, tasks: str = "service.worker.tasks:Tasks") -> None:
        self._settings = settings
        self._tasks = tasks
        found = places(settings, os.environ)
        self._places = [place for place in found if not place.spare]
        self._spare_places = [place for place in found if place.spare]
        self._admission = Admission(settings, sum(place.pipelines for place in self._places))
        self._quarantine = Quarantine()
        self._links: dict[int, WorkerLink] = {}
        self._dispatcher = Dispatcher(self._admission, self._links, len(self._places))
        self._supervisors: list[asyncio.Task[None]] = []
        self._model_id: asyncio.Future[bytes] | None = None
        self._stopping = False
        self._stopped = False
        self._restarts: Counter[str] = Counter()
        self._events: Counter[str] = Counter()

    @property
    def ready(self) -> bool:
        """True while at least one worker can take work."""
        return any(link.ready for link in self._links.values())

    @property
    def model_id(self) -> bytes:
        """Id of the weights that new pictures are coded with; known when :meth:`start` has returned."""
        if self._model_id is None:
            raise WorkerFailed("the pool has not been started")
        return self._model_id.result()

    @property
    def state(self) -> PoolState:
        """The pool's gauges and counters, for metrics."""
        lanes = self._admission.lanes.items()
        return PoolState(
            waiting={name: len(lane.waiting) for name, lane in lanes},
            running={name: len(lane.running) for name, lane in lanes},
            workers=sum(link.ready for link in self._links.values()),
            memory=sum(link.memory for link in self._links.values()),
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

    async def stop(self) -> None:
        """Refuse new jobs, wait for those accepted (at most ``drain_seconds``), end all workers."""
        self._stopping = True
        lanes = self._admission.lanes.values()
        accepted = [ticket.answer for lane in lanes for ticket in (*lane.waiting, *lane.running)]
        if accepted:
            await asyncio.wait(accepted, timeout=self._settings.drain_seconds)
        self._stopped = True
        for supervisor in self._supervisors:
            supervisor.cancel()
        await asyncio.gather(*self._supervisors, return_exceptions=True)
        for ticket in [ticket for lane in lanes for ticket in lane.waiting]:
            _fail(ticket, WorkerFailed("the service is stopping"))

    async def upload(self, job: Upload) -> Uploaded:
        """Code an upload. Raises a :class:`service.errors.ServiceError`.

        Never tried twice: the client is told, and nothing is half done.
        """
        digest = await asyncio.to_thread(hashlib.blake2b, job.data, digest_size=16)
        result = await self._run(job, "upload:" + digest.hexdigest(), len(job.data))
        if not isinstance(result, Uploaded):
            raise WorkerFailed("the worker gave an answer of another kind")
        return result

    async def render(self, job: Render, cost: float) -> Rendered:
        """Decode and write a layer; ``cost`` in pixels to decode. Raises a ServiceError.

        If the worker ends, the job is tried once more, in another one.
        """
        result = await self._run(job, job.key, cost)
        if not isinstance(result, Rendered) or result.media_type != f"image/{job.format}":
            raise WorkerFailed("the worker gave an answer of another kind")
        return result

    def check(self, job: Upload | Render, cost: float) -> None:
        """Raises what :meth:`render` would raise at once (Overloaded, Quarantined, WorkerFailed), so that
        nothing need be fetched for a job that will not be taken; ``job`` may lack its stream.
        """
        key, layer = (job.key, job.layer) if isinstance(job, Render) else ("", 0)
        self._refuse(job, key, layer, cost)

    # one job

    async def _run(self, job: Upload | Render, key: str, cost: float) -> Uploaded | Rendered:
        cost = max(1.0, cost)
        now = time.monotonic()
        ticket = Ticket(
            job=job,
            key=key,
            lane=self._admission.lane_of(job, cost),
            cost=cost,
            arrived=now,
            deadline=now + self._seconds_allowed(job, cost),
            answer=asyncio.get_running_loop().create_future(),
        )
        self._refuse(job, key, ticket.layer, cost)
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
        return replace(result, seconds={**result.seconds, "queue": ticket.started - ticket.arrived})

    def _refuse(self, job: Upload | Render, key: str, layer: int, cost: float) -> None:
        if self._stopping:
            raise WorkerFailed("the service is stopping")
        now = time.monotonic()
        try:
            self._quarantine.check(key, layer)
            lane = self._admission.lane_of(job, cost)
            self._admission.check(lane, cost, now, now + self._seconds_allowed(job, cost))
        except (Overloaded, Quarantined) as error:
            self._events["refused" if isinstance(error, Overloaded) else "quarantined"] += 1
            raise

    def _seconds_allowed(self, job: Upload | Render, cost: float) -> float:
        if isinstance(job, Upload):
            return self._settings.upload_deadline
        return self._settings.read_deadline * max(1.0, cost / HEAVY_COST)

    # what comes back

    def _answered(self, ticket: Ticket, answer: Answer) -> None:
        if isinstance(answer, Failure):
            self._admission.finish(ticket, None)
            _fail(ticket, error_of(answer))
        else:
            self._admission.finish(ticket, (time.monotonic() - ticket.started) / ticket.batch)
            if not ticket.answer.done():
                ticket.answer.set_result(answer.result)
        self._quarantine.absolve(ticket.key, ticket.layer)
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
                _fail(ticket, WorkerFailed("the service is stopping"))
                continue
            self._quarantine.blame(ticket.key, ticket.layer)
            if isinstance(ticket.job, Upload) or ticket.attempts > 1:
                _fail(ticket, WorkerFailed("the worker ended before it answered"))
            elif not ticket.answer.done():
                ticket.avoid = link.place.index
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
            if failures == START_ATTEMPTS and self._model_id is not None and not self._model_id.done():
                self._model_id.set_exception(WorkerFailed("the worker processes end before they are ready"))
            if failures:
                await asyncio.sleep(min(MAX_BACKOFF_SECONDS, 0.25 * 2**failures))

    async def _attend(self, link: WorkerLink) -> None:
        self._links[link.place.index] = link
        watcher = asyncio.create_task(
            link.watch(
                lambda ticket: ticket.allowed + GRACE_SECONDS,
                self._settings.worker_memory_bytes,
            )
        )
        pixels = max(self._settings.max_pixels, self._settings.max_output_pixels)
        try:
            # No stream or picture is larger than its raw pixels and a little.
            await link.serve(5 * pixels + 16 * MIB, self._welcome, self._answered)
        finally:
            watcher.cancel()
            del self._links[link.place.index]
            self._bury(link, await link.close())

    def _welcome(self, model_id: bytes) -> None:
        if self._model_id is not None and not self._model_id.done():
            self._model_id.set_result(model_id)
        if sum(link.ready for link in self._links.values()) >= len(self._places):
            self._fill(self._spare_places)  # they come last, lest the service be ready later
            self._spare_places = []
        self._dispatcher.run()

    def _begin(self, place: Place) -> Begin:
        settings = self._settings.model_dump(mode="json", exclude=KEPT_FROM_WORKERS)
        return Begin(settings, self._tasks, place.pipelines)


def error_of(failure: Failure) -> ServiceError:
    """The error that a worker named, if it is one of ours, else a plain ServiceError."""
    kind = getattr(errors, failure.error, ServiceError)
    if not (isinstance(kind, type) and issubclass(kind, ServiceError)):
        kind = ServiceError
    return kind(failure.detail, failure.retry_after)


def _fail(ticket: Ticket, error: ServiceError) -> None:
    if not ticket.answer.done():
        ticket.answer.set_exception(error)
