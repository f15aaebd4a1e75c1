"""A worker of the cluster: the tasks of every worker, with a connection to the store of its own."""

import asyncio
import time
from base64 import b64decode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

from ray import serve

from service.engine.devices import CUDA_BATCH, CUDA_PIPELINES
from service.errors import DamagedStream, Replaced, ServiceError
from service.messages.jobs import Render, Rendered, Upload, Uploaded
from service.messages.plans import RenderPlan
from service.messages.protocol import Failure
from service.metrics import Metrics
from service.planning.identity import stream_name
from service.settings import Settings
from service.storage.records import Record
from service.storage.store import Store
from service.worker.process import Worker, load_tasks

BATCH_SECONDS = 0.005
"""A batch on a GPU waits so long for more."""

R = TypeVar("R")


class Replica:
    """Codes uploads and carries out plans, while further ones read the store.

    On a core they are worked on one at a time. On a GPU those that have come meanwhile make a batch, of which
    pictures with layers of the same sizes are decoded together; on a core that would save nothing.

    Failures are returned, not raised: Ray would carry an exception's whole traceback and its cause with it.
    """

    def __init__(self, settings: Settings, tasks: str) -> None:
        """``tasks`` names the class that does the work, as "module:class"; made, and warmed up if it can be,
        before this returns.
        """
        assert settings.redis_url is not None
        self._tasks = load_tasks(tasks, settings.for_worker)
        self._worker = Worker(self._tasks, lambda message: None)
        self._in_batches = settings.ray_gpus > 0
        self._store = Store(settings.redis_url, settings, Metrics())
        self._threads = ThreadPoolExecutor(CUDA_PIPELINES if self._in_batches else 1)
        self._heeding: asyncio.Task[None] | None = None
        in_batches: Any = serve.batch(
            max_batch_size=CUDA_BATCH,
            batch_wait_timeout_s=BATCH_SECONDS,
            max_concurrent_batches=CUDA_PIPELINES,
        )
        self._batched = in_batches(self._rendered)  # a decorated method would share one queue among replicas

    async def model_id(self) -> bytes:
        """Id of the weights that pictures are coded with."""
        model_id: bytes = self._tasks.model_id
        return model_id

    async def check_health(self) -> None:
        """Called by Ray at the start and from time to time. A store that does not answer is no fault of this
        worker.
        """
        self._heeding = self._heeding or asyncio.create_task(self._heed())

    async def upload(self, job: Upload) -> Uploaded | Failure:
        """Code an upload."""
        coded = await self._in_thread(lambda: self._worker.guarded(self._tasks.upload, job))
        return Failure.of(coded) if isinstance(coded, ServiceError) else coded

    async def carry_out(self, plan: RenderPlan) -> Rendered | Failure:
        """Read what a plan needs, and render it."""
        try:
            return await self._carried_out(plan)
        except ServiceError as error:
            return Failure.of(error)

    async def _carried_out(self, plan: RenderPlan) -> Rendered:
        start = time.perf_counter()
        record = await self._record(plan)
        stream = await self._store.unverified_prefix(record, plan.layer)
        alpha = await self._store.alpha(record, plan.layer)
        seconds = {"fetch": time.perf_counter() - start}
        job = Render(plan, stream, alpha, b64decode(record.facts.profile), record.facts.credits)
        rendered = await self._batched(job) if self._in_batches else (await self._rendered([job]))[0]
        if isinstance(rendered, DamagedStream):
            self._store.found_damaged(record.id)
        if isinstance(rendered, ServiceError):
            raise rendered
        read = len(stream) + len(alpha or b"")
        return replace(rendered, bytes_read=read, seconds={**seconds, **rendered.seconds})

    async def _rendered(self, jobs: list[Render]) -> list[Rendered | ServiceError]:
        return await self._in_thread(lambda: list(self._worker.rendered(jobs)))

    async def _record(self, plan: RenderPlan) -> Record:
        """The record of the stream that a plan is made for. Raises Replaced if there is another one now."""
        for fresh in (False, True):
            record = await self._store.record(plan.picture, fresh)
            if stream_name(record.header) == plan.stream:
                return record
        raise Replaced(f"the stream of {plan.picture} is another one by now")

    async def _heed(self) -> None:
        """Keep nothing of pictures that were deleted or replaced."""
        async for pictures in self._store.changes.follow():
            self._store.forget(pictures)
            self._tasks.forget(pictures)

    async def _in_thread(self, work: Callable[[], R]) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)
