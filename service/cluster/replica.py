"""A worker of the cluster: the tasks of every worker, with a connection to the store of its own."""

import asyncio
import logging
import time
from base64 import b64decode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import import_module
from typing import Any, TypeVar

from service.errors import DamagedStream, Replaced, ServiceError, WorkerFailed
from service.messages.jobs import Render, Rendered, Upload, Uploaded
from service.messages.plans import RenderPlan
from service.messages.protocol import Failure
from service.metrics import Metrics
from service.planning.identity import stream_name
from service.settings import Settings
from service.storage.records import Record
from service.storage.store import Store

log = logging.getLogger("compass")

R = TypeVar("R")


class Replica:
    """Codes uploads and carries out plans, one at a time, while further ones read the store.

    Failures are returned, not raised: Ray would carry an exception's whole traceback and its cause with it.
    """

    def __init__(self, settings: Settings, tasks: str) -> None:
        """``tasks`` names the class that does the work, as "module:class"; made, and warmed up if it can be,
        before this returns.
        """
        assert settings.redis_url is not None
        module, _, attribute = tasks.partition(":")
        self._tasks: Any = getattr(import_module(module), attribute)(settings.for_worker)
        if hasattr(self._tasks, "warm_up"):
            self._tasks.warm_up()
        self._store = Store(settings.redis_url, settings, Metrics())
        self._thread = ThreadPoolExecutor(1)

    async def model_id(self) -> bytes:
        """Id of the weights that pictures are coded with."""
        model_id: bytes = self._tasks.model_id
        return model_id

    async def check_health(self) -> None:
        """Called by Ray from time to time. A store that does not answer is no fault of this worker."""

    async def upload(self, job: Upload) -> Uploaded | Failure:
        """Code an upload."""
        return await _told(lambda: self._work(self._tasks.upload, job))

    async def carry_out(self, plan: RenderPlan) -> Rendered | Failure:
        """Read what a plan needs, and render it."""
        return await _told(lambda: self._carried_out(plan))

    async def _carried_out(self, plan: RenderPlan) -> Rendered:
        start = time.perf_counter()
        record = await self._record(plan)
        stream = await self._store.unverified_prefix(record, plan.layer)
        alpha = await self._store.alpha(record, plan.layer)
        seconds = {"fetch": time.perf_counter() - start}
        job = Render(plan, stream, alpha, b64decode(record.facts.profile), record.facts.credits)
        try:
            rendered: Rendered = await self._work(self._tasks.render, job)
        except DamagedStream:
            self._store.found_damaged(record.id)
            raise
        read = len(stream) + len(alpha or b"")
        return replace(rendered, bytes_read=read, seconds={**seconds, **rendered.seconds})

    async def _record(self, plan: RenderPlan) -> Record:
        """The record of the stream that a plan is made for. Raises Replaced if there is another one now."""
        for fresh in (False, True):
            record = await self._store.record(plan.picture, fresh)
            if stream_name(record.header) == plan.stream:
                return record
        raise Replaced(f"the stream of {plan.picture} is another one by now")

    async def _work(self, task: Callable[[Any], Any], job: Upload | Render) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, task, job)


async def _told(work: Callable[[], Any]) -> Any:
    """What the work gives, or the Failure that tells why not."""
    try:
        return await work()
    except ServiceError as error:
        return _failure(error)
    except MemoryError:
        return _failure(WorkerFailed("the worker has too little memory for this job"))
    except Exception:
        log.exception("a job failed")
        return _failure(ServiceError("the worker could not finish this job"))


def _failure(error: ServiceError) -> Failure:
    return Failure(0, type(error).__name__, error.detail, error.retry_after)
