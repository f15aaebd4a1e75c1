"""The engine of many machines: jobs go to a Ray cluster, whose workers read the store themselves.

Lines, deadlines, quarantine and figures are those of the pool. Its one process passes jobs on and answers
back: see ``service/cluster/bridge.py``.
"""

import asyncio

from service.engine.devices import CUDA_BATCH, CUDA_PIPELINES, cluster_place
from service.engine.interface import Fetch
from service.engine.pool import Pool
from service.engine.ticket import LaneName
from service.errors import WorkerFailed
from service.messages.jobs import Render, Rendered
from service.messages.plans import RenderPlan
from service.settings import Settings

START_SECONDS = 60.0
"""A start waits so long for a worker of the cluster, and then goes on without."""


def ongoing(settings: Settings) -> int:
    """Jobs at once in each worker of the cluster: on a core one to work on and one to read, on a GPU a batch
    of each.
    """
    return CUDA_PIPELINES * CUDA_BATCH if settings.ray_gpus else 2


class ClusterEngine(Pool):
    """Works with the cluster at ``ray_address``. Where it cannot, jobs fail at once, with WorkerFailed, and
    whatever comes back is used again.

    Raises ServiceError if Ray is not installed.
    """

    def __init__(self, settings: Settings, tasks: str = "service.worker.tasks:Tasks") -> None:
        jobs = ongoing(settings) * settings.ray_max_replicas
        super().__init__(settings, tasks, [cluster_place(settings, "service.cluster.bridge", jobs)])

    @property
    def model_id(self) -> bytes:
        """Id of the weights that new pictures are coded with; nothing as long as no worker has told it."""
        known = self._model_id is not None and self._model_id.done()
        return super().model_id if known else b""

    async def start(self) -> None:
        """Connect; returns when a worker is ready, or without one after START_SECONDS."""
        self._model_id = asyncio.get_running_loop().create_future()
        self._fill(self._places)
        await asyncio.wait([self._model_id], timeout=START_SECONDS)

    async def carry_out(self, plan: RenderPlan, cost: float, fetch: Fetch) -> Rendered:
        """Render what a plan tells; a worker reads what it needs. Raises a ServiceError."""
        return await self.render(Render(plan, b""), cost)

    def _refuse(self, lane: LaneName, key: str, layer: int, cost: float) -> None:
        if not self.ready and not self._stopping:
            raise WorkerFailed("no worker of the cluster is ready")
        super()._refuse(lane, key, layer, cost)
