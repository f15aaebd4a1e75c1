"""A job on its way through the pool: where it stands, which only it itself writes down."""

import asyncio
from collections.abc import Callable
from typing import Literal

from service.errors import ServiceError
from service.messages.jobs import Job, Result

LaneName = Literal["light", "heavy", "upload", "refine"]
"""The three lanes of :mod:`service.engine.admission`; what refines waits in none."""


class Ticket:
    """A job, what is allowed to it, and how far it has come; times in seconds of one monotonic clock.

    It waits (:meth:`line_up`), runs in a worker (:meth:`begin`), waits again if that worker ended
    (:meth:`try_elsewhere`), and ends with a result or an error (:meth:`resolve`, :meth:`fail`), or
    with its requester, who cancels ``answer``. Others read these states, and change them through
    these methods alone.
    """

    def __init__(
        self,
        job: Job,
        lane: LaneName,
        cost: float,
        arrived: float,
        deadline: float,
        told: Callable[[float], None] = lambda share: None,
    ) -> None:
        """``cost`` is as :mod:`service.planning.cost` tells it; ``told`` hears what share of the job is done,
        where its worker tells. Needs a running loop.
        """
        self.job = job
        self.lane = lane
        self.cost = cost
        self.arrived = arrived
        self.deadline = deadline
        self.told = told
        self.answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._rank = 0.0
        self._started = 0.0
        self._attempts = 0
        self._batch = 1
        self._avoid: int | None = None

    @property
    def key(self) -> str:
        """What the job works on: a worker's death is blamed on it."""
        return self.job.key

    @property
    def layer(self) -> int:
        """The layer that is decoded; 0 for an upload."""
        return self.job.layer

    @property
    def allowed(self) -> float:
        """Seconds from arrival to deadline."""
        return self.deadline - self.arrived

    @property
    def repeatable(self) -> bool:
        """Whether it may be tried again: an upload may not, its client is told; nor what refines."""
        return self.lane in ("light", "heavy")

    @property
    def rank(self) -> float:
        """Its place in line: the smallest comes first."""
        return self._rank

    @property
    def started(self) -> float:
        """When it was last given to a worker."""
        return self._started

    @property
    def attempts(self) -> int:
        """How many workers it was given to."""
        return self._attempts

    @property
    def batch(self) -> int:
        """How many jobs it shared its worker with, itself included."""
        return self._batch

    @property
    def avoid(self) -> int | None:
        """The place of the worker that ended with it."""
        return self._avoid

    def line_up(self, rank: float) -> None:
        """It waits in line."""
        self._rank = rank

    def begin(self, now: float) -> None:
        """It is given to a worker."""
        self._started = now
        self._attempts += 1
        self._batch = 1

    def share(self, jobs: int) -> None:
        """It runs in one batch of so many jobs."""
        self._batch = jobs

    def try_elsewhere(self, place: int) -> None:
        """The worker at that place ended with it: another one must try."""
        self._avoid = place

    def resolve(self, result: Result) -> None:
        """It is done; nothing happens if nobody waits for it any more."""
        if not self.answer.done():
            self.answer.set_result(result)

    def fail(self, error: ServiceError) -> None:
        """It cannot be done; nothing happens if nobody waits for it any more."""
        if not self.answer.done():
            self.answer.set_exception(error)
