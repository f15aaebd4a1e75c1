"""The pool of worker processes: takes jobs, hands them out, survives its workers.

``admission`` decides who waits and who is next, ``workerlink`` holds one process, ``quarantine``
remembers which pictures end processes. Here they are brought together: deadlines, the choice of a
worker, retries and respawning.
"""

import asyncio
import hashlib
import itertools
import logging
import math
import os
import time
from collections import Counter, OrderedDict
from dataclasses import dataclass, replace
from functools import partial

from service import errors
from service.admission import Admission, LaneName, Ticket
from service.devices import Place, places
from service.errors import DeadlineExceeded, Overloaded, ServiceError, WorkerFailed
from service.jobs import Render, Rendered, Upload, Uploaded
from service.protocol import Begin, Failure
from service.quarantine import Quarantine
from service.settings import MIB, Settings
from service.workerlink import Answer, WorkerLink

GRACE_SECONDS = 2.0
"""A worker that runs this much longer than the whole time allowed for a job counts as hung."""
PATIENCE_SECONDS = 0.25
"""So much further back in line stands a picture whose layers are held by another, busy worker."""
BATCH_COST = 32_000_000
"""A batch is closed when its cost (pixels to decode) reaches this."""
MAX_BACKOFF_SECONDS = 30.0
START_ATTEMPTS = 3
MAX_HOMES = 10_000
KEPT_FROM_WORKERS = {"api_keys", "url_keys", "redis_url"}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PoolState:
    """What the pool is doing (``waiting`` and ``running`` by lane, ready workers, their resident
    bytes) and what has happened since its start (``restarts`` by reason, and counts of jobs).
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

    def __init__(self, settings: Settings, tasks: str = "service.tasks:Tasks") -> None:
        self._settings = settings
        self._tasks = tasks
        self._places = places(settings, os.environ)
        self._admission = Admission(settings, sum(place.pipelines for place in self._places))
        self._quarantine = Quarantine()
        self._links: dict[int, WorkerLink] = {}
        self._homes: OrderedDict[str, int] = OrderedDict()
        self._numbers = itertools.count(1)
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
        self._supervisors = [asyncio.create_task(self._supervise(place)) for place in self._places]
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

    # one job

    async def _run(self, job: Upload | Render, key: str, cost: float) -> Uploaded | Rendered:
        if self._stopping:
            raise WorkerFailed("the service is stopping")
        cost = max(1.0, cost)
        now = time.monotonic()
        ticket = Ticket(
            job=job,
            key=key,
            lane=self._admission.lane_of(job, cost),
            cost=cost,
            arrived=now,
            deadline=now + self._seconds_allowed(job),
            answer=asyncio.get_running_loop().create_future(),
        )
        try:
            self._quarantine.check(key, ticket.layer)
            self._admission.enter(ticket)
            self._dispatch()
            async with asyncio.timeout(self._seconds_allowed(job)):
                result = await ticket.answer
        except TimeoutError:
            self._events["late"] += 1
            raise DeadlineExceeded(f"no answer within {self._seconds_allowed(job):g} seconds") from None
        except asyncio.CancelledError:
            self._events["abandoned"] += 1
            raise
        except Overloaded:
            self._events["refused"] += 1
            raise
        except errors.Quarantined:
            self._events["quarantined"] += 1
            raise
        finally:
            self._admission.leave(ticket)
        return replace(result, seconds={**result.seconds, "queue": ticket.started - ticket.arrived})

    def _seconds_allowed(self, job: Upload | Render) -> float:
        return self._settings.upload_deadline if isinstance(job, Upload) else self._settings.read_deadline

    # handing out

    def _dispatch(self) -> None:
        """Give waiting jobs to free workers until there are no more of the one or the other."""
        while free := sorted((link for link in self._links.values() if link.free), key=_load):
            if not sum(self._give(link, len(free)) for link in free):
                return

    def _give(self, link: WorkerLink, sharers: int) -> bool:
        if not link.free:
            return False
        now = time.monotonic()
        handicap = partial(self._handicap, link)
        first = self._admission.take(now, handicap)
        if first is None:
            return False
        batch = [first]
        if first.lane == "light" and not first.attempts:
            waiting = len(self._admission.lanes["light"].waiting)
            size = min(link.place.batch, math.ceil((1 + waiting) / sharers))
            cost = first.cost
            while len(batch) < size and cost < BATCH_COST:
                more = self._admission.take(now, partial(self._untried, handicap), only="light")
                if more is None:
                    break
                batch.append(more)
                cost += more.cost
        for ticket in batch:
            ticket.attempts += 1
            ticket.batch = len(batch)
            self._remember_home(ticket, link.place.index)
        link.send({next(self._numbers): ticket for ticket in batch})
        return True

    def _handicap(self, link: WorkerLink, ticket: Ticket) -> float:
        """Seconds by which a job stands further back for this worker; infinite: not for it."""
        if ticket.attempts:  # its last worker ended: elsewhere, and alone, to see whose fault it was
            others = any(other.ready for other in self._links.values() if other is not link)
            return math.inf if link.running or (others and ticket.avoid == link.place.index) else 0.0
        home = self._homes.get(ticket.key)
        if home is None or home == link.place.index:
            return 0.0
        holder = self._links.get(home)
        return math.inf if holder is not None and holder.free else PATIENCE_SECONDS

    def _untried(self, handicap: "partial[float]", ticket: Ticket) -> float:
        return math.inf if ticket.attempts else handicap(ticket)

    def _remember_home(self, ticket: Ticket, index: int) -> None:
        if isinstance(ticket.job, Render):
            self._homes[ticket.key] = index
            self._homes.move_to_end(ticket.key)
            while len(self._homes) > MAX_HOMES:
                self._homes.popitem(last=False)

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
        self._dispatch()

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
                self._admission.reenter(ticket)
        self._dispatch()

    # life and death

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
                failures = 0 if link.answered else failures + 1
            if failures == START_ATTEMPTS and self._model_id is not None and not self._model_id.done():
                self._model_id.set_exception(WorkerFailed("the worker processes end before they are ready"))
            if failures:
                await asyncio.sleep(min(MAX_BACKOFF_SECONDS, 0.25 * 2**failures))

    async def _attend(self, link: WorkerLink) -> None:
        self._links[link.place.index] = link
        watcher = asyncio.create_task(
            link.watch(
                lambda ticket: self._seconds_allowed(ticket.job) + GRACE_SECONDS,
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
        self._dispatch()

    def _begin(self, place: Place) -> Begin:
        settings = self._settings.model_dump(mode="json", exclude=KEPT_FROM_WORKERS)
        return Begin(settings, self._tasks, place.pipelines)


def error_of(failure: Failure) -> ServiceError:
    """The error that a worker named, if it is one of ours, else a plain ServiceError."""
    kind = getattr(errors, failure.error, ServiceError)
    if not (isinstance(kind, type) and issubclass(kind, ServiceError)):
        kind = ServiceError
    return kind(failure.detail, failure.retry_after)


def _load(link: WorkerLink) -> int:
    return len(link.running)


def _fail(ticket: Ticket, error: ServiceError) -> None:
    if not ticket.answer.done():
        ticket.answer.set_exception(error)
