"""A worker of the cluster for what nobody waits for: it refines pictures and codes them anew, while it stands
back for all other work of its machine.
"""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from service.errors import ServiceError
from service.messages.jobs import Recode, Recoded, Refine, Refined
from service.messages.protocol import Failure
from service.settings import Settings
from service.worker.process import Worker, load_tasks


class Standby:
    """One picture at a time, on a thread that the kernel gives a core only if nobody else wants it. What is
    done there holds up nobody: this process has no other work.
    """

    def __init__(self, settings: Settings, tasks: str) -> None:
        """``tasks`` as for :class:`service.cluster.replica.Replica`."""
        self._thread = ThreadPoolExecutor(1, initializer=_stand_back)  # threads started there inherit it
        self._tasks: Any = self._thread.submit(load_tasks, tasks, settings.for_worker).result()
        self._worker = Worker(self._tasks, lambda message: None)

    async def model_id(self) -> bytes:
        """Id of the weights that pictures are coded with."""
        model_id: bytes = self._tasks.model_id
        return model_id

    async def refine(self, job: Refine) -> Refined | Failure:
        """Search for a smaller stream."""
        return await self._done(lambda job: self._tasks.refine(job, lambda share: None), job)

    async def recode(self, job: Recode) -> Recoded | Failure:
        """Code a picture anew."""
        return await self._done(self._tasks.recode, job)

    async def _done(self, task: Callable[[Any], Any], job: Refine | Recode) -> Any:
        loop = asyncio.get_running_loop()
        result = await loop.run_in_executor(self._thread, self._worker.guarded, task, job)
        if isinstance(result, ServiceError):
            return Failure.of(result)
        return result


def _stand_back() -> None:
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
