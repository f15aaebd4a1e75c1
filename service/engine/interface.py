"""What the library asks of whoever does the work, be it the pool of this machine or a cluster."""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, fields
from typing import Any, Protocol

from service.engine.ticket import LaneName
from service.messages.jobs import Refine, Refined, Render, Rendered, Upload, Uploaded
from service.messages.plans import RenderPlan

Fetch = Callable[[], Awaitable[Render]]
"""Reads from the store what a plan needs, and raises what the store raises."""


@dataclass(frozen=True)
class EngineState:
    """What an engine is doing (``waiting`` and ``running`` by lane, ready workers with the spare ones, bytes
    resident in its processes on this machine) and what has happened since its start (``restarts`` by reason,
    and counts of jobs).
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

    def with_that_of(self, other: "EngineState") -> "EngineState":
        """What both are doing, and what happened to both."""
        names = [field.name for field in fields(self)]
        return EngineState(**{name: _sum(getattr(self, name), getattr(other, name)) for name in names})


def _sum(one: Any, other: Any) -> Any:
    """Of numbers, or of the numbers under each key."""
    if isinstance(one, dict):
        return {key: one.get(key, 0) + other.get(key, 0) for key in {**one, **other}}
    return one + other


class Engine(Protocol):
    """Codes uploads and carries out plans, between :meth:`start` and :meth:`stop`."""

    @property
    def ready(self) -> bool:
        """True while at least one worker can take work."""

    @property
    def busy(self) -> bool:
        """True while a rendering or an upload waits or is worked on."""

    @property
    def refiners(self) -> int:
        """How many pictures are refined at once."""

    @property
    def model_id(self) -> bytes:
        """Id of the weights that new pictures are coded with, known when :meth:`start` has returned."""

    @property
    def state(self) -> EngineState:
        """Gauges and counters, for metrics."""

    async def start(self) -> None:
        """Start what works. Raises a :class:`service.errors.ServiceError` if it never can."""

    async def drain(self) -> None:
        """Refuse new jobs, wait for those accepted (at most ``drain_seconds``), fail the rest."""

    async def stop(self) -> None:
        """The same, and end what works."""

    async def upload(self, job: Upload, cost: float) -> Uploaded:
        """Code an upload; ``cost`` as :mod:`service.planning.cost` tells it. Raises a ServiceError.

        Never tried twice: the client is told, and nothing is half done.
        """

    async def carry_out(self, plan: RenderPlan, cost: float, fetch: Fetch) -> Rendered:
        """Decode and write what a plan tells, and tell how much was read for it, and how long that took
        (``fetch`` among the seconds); ``cost`` as for :meth:`upload`. Raises a ServiceError.

        ``fetch`` is called, and nothing read, only for a job that is taken; not at all where who works reads
        the store itself.
        """

    def forget(self, pictures: Collection[str] | None) -> None:
        """Keep no decoded layers of pictures that were deleted or replaced; None: of any picture."""

    async def refine(self, job: Refine) -> Refined:
        """Search for a smaller stream while nobody else has work there. Raises a ServiceError."""
