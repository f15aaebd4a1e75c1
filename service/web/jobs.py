"""Uploads that are answered at once and kept afterwards (``Prefer: respond-async``, RFC 7240)."""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field

from service.errors import ServiceError, Stopping
from service.library import Told
from service.metrics import STORED, Metrics
from service.storage.jobs import Failure, JobBoard, JobState, Stage, new_job
from service.storage.records import Record

PREFERENCE = "respond-async"
TELL_SECONDS = 1.0
"""How often the state of a job under way is written."""
PIXELS_PER_SECOND = 1e6
"""What coding is taken to be as fast as until the first upload is over."""
_ALMOST = 95
"""Percent that coding ends with; it gets no further by itself."""

log = logging.getLogger("compass")

Work = Callable[[Told], Awaitable[Record]]


def prefers_async(prefer: str | None) -> bool:
    """Whether the Prefer header asks to be answered before the picture is kept."""
    wishes = [wish.split(";")[0].strip().lower() for wish in (prefer or "").split(",")]
    return PREFERENCE in wishes


@dataclass
class _Progress:
    """How far one job is. ``percent`` of coding is an estimate: from the pixels, and how fast others were."""

    stage: Stage = "waiting"
    cost: float = 0.0
    began: float = field(default_factory=time.monotonic)

    def move(self, stage: Stage, cost: float) -> None:
        self.stage, self.cost, self.began = stage, cost, time.monotonic()

    def percent(self, speed: float) -> int:
        if self.stage == "coding":
            expected = max(0.1, self.cost / speed)
            share = 1 - math.exp(-1.5 * (time.monotonic() - self.began) / expected)
            return round(_ALMOST * share)
        return {"waiting": 0, "storing": _ALMOST, "done": 100}[self.stage]


class Jobs:
    """The uploads of this process that were answered already. Each is told of on the ``board``, and how it
    ends is counted in the ``metrics``: the answer to its request said only that it was accepted.
    """

    def __init__(self, board: JobBoard, drain_seconds: float, metrics: Metrics) -> None:
        self.board = board
        self._metrics = metrics
        self._drain_seconds = drain_seconds
        self._speed = PIXELS_PER_SECOND
        self._running: set[asyncio.Task[None]] = set()

    async def begin(self, work: Work, held: AsyncExitStack) -> str:
        """Carry out ``work`` in the background and let go of what is ``held`` afterwards; the job's name.

        Raises StoreUnavailable or StoreFull where it cannot be told of: then nothing was begun.
        """
        job = new_job()
        await self.board.tell(job, JobState("working", "waiting", 0))
        task = asyncio.create_task(self._run(job, work, held))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return job

    async def close(self) -> None:
        """Wait for what runs, ``drain_seconds`` at most; who asks for the rest is told that it failed."""
        if self._running:
            await asyncio.wait(self._running, timeout=self._drain_seconds)
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _run(self, job: str, work: Work, held: AsyncExitStack) -> None:
        progress = _Progress()

        def told(stage: Stage, cost: float) -> None:
            if progress.stage == "coding" and progress.cost:
                seconds = max(1e-3, time.monotonic() - progress.began)
                self._speed += 0.3 * (progress.cost / seconds - self._speed)
            progress.move(stage, cost)

        async with held:
            telling = asyncio.create_task(self._tell(job, progress))
            try:
                record = await work(told)
                end = JobState("stored", "done", 100, record.id)
            except ServiceError as error:
                end = _failed(progress, self._speed, error)
            except asyncio.CancelledError:
                end = _failed(progress, self._speed, Stopping("the service is stopping: send it again"))
            except Exception:
                log.exception("an upload in the background failed")
                end = _failed(progress, self._speed, ServiceError("an error in this service"))
            finally:
                telling.cancel()
                await asyncio.gather(telling, return_exceptions=True)
        self._metrics.upload_jobs.labels(str(end.failure.status) if end.failure else STORED).inc()
        try:
            await self.board.tell(job, end)
        except ServiceError as error:
            log.warning("nobody can be told what became of an upload (%s): %s", end.state, error)

    async def _tell(self, job: str, progress: _Progress) -> None:
        while True:
            with suppress(ServiceError):
                await self.board.tell(job, JobState("working", progress.stage, progress.percent(self._speed)))
            await asyncio.sleep(TELL_SECONDS)


def _failed(progress: _Progress, speed: float, error: ServiceError) -> JobState:
    failure = Failure(error.status, error.title, str(error))
    return JobState("failed", progress.stage, progress.percent(speed), None, failure)
