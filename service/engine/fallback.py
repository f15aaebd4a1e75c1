"""Two engines, the second for as long as the first has no worker."""

import asyncio
from collections.abc import Collection

from service.engine.interface import Engine, EngineState, Fetch
from service.messages.jobs import Refine, Refined, Rendered, Upload, Uploaded
from service.messages.plans import RenderPlan


class WithFallback:
    """An engine that gives each job to ``first`` if that is ready when it comes, else to ``second``."""

    def __init__(self, first: Engine, second: Engine) -> None:
        self._first = first
        self._second = second

    @property
    def ready(self) -> bool:
        """True while either has a worker."""
        return self._first.ready or self._second.ready

    @property
    def busy(self) -> bool:
        """True while either works."""
        return self._first.busy or self._second.busy

    @property
    def refiners(self) -> int:
        """The first one's."""
        return self._first.refiners

    @property
    def model_id(self) -> bytes:
        """The first one's, or while that is unknown the second one's."""
        return self._first.model_id or self._second.model_id

    @property
    def state(self) -> EngineState:
        """What both are doing, and what happened to both."""
        return self._first.state.with_that_of(self._second.state)

    async def start(self) -> None:
        """Start both."""
        await asyncio.gather(self._first.start(), self._second.start())

    async def drain(self) -> None:
        """Drain both."""
        await asyncio.gather(self._first.drain(), self._second.drain())

    async def stop(self) -> None:
        """Stop both."""
        await asyncio.gather(self._first.stop(), self._second.stop())

    async def upload(self, job: Upload, cost: float) -> Uploaded:
        """Code an upload. Raises a ServiceError."""
        return await self._able.upload(job, cost)

    async def carry_out(self, plan: RenderPlan, cost: float, fetch: Fetch) -> Rendered:
        """Carry out a plan. Raises a ServiceError."""
        return await self._able.carry_out(plan, cost, fetch)

    def forget(self, pictures: Collection[str] | None) -> None:
        """Have both keep no decoded layers of these pictures."""
        self._first.forget(pictures)
        self._second.forget(pictures)

    async def refine(self, job: Refine) -> Refined:
        """Refine a picture on the cluster, which is waited for. Raises a ServiceError."""
        return await self._first.refine(job)

    @property
    def _able(self) -> Engine:
        return self._first if self._first.ready else self._second
