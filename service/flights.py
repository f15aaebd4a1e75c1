"""One piece of work for any number of simultaneous identical requests."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

V = TypeVar("V")


@dataclass
class _Flight(Generic[V]):
    task: "asyncio.Task[V]"
    waiting: int = 0


class Flights(Generic[V]):
    """Joins requests for the same key to one task.

    The task belongs to nobody in particular: it goes on when its first requester leaves, and is
    cancelled only when the last one has left.
    """

    def __init__(self, on_join: Callable[[], None]) -> None:
        self._flights: dict[str, _Flight[V]] = {}
        self._on_join = on_join

    async def join(self, key: str, work: Callable[[], Awaitable[V]]) -> V:
        """The result of ``work`` for ``key``, started now or already under way."""
        flight = self._flights.get(key)
        if flight is None:
            flight = _Flight(asyncio.ensure_future(self._run(key, work)))
            self._flights[key] = flight
        else:
            self._on_join()
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done():
                self._flights.pop(key, None)
                flight.task.cancel()

    async def _run(self, key: str, work: Callable[[], Awaitable[V]]) -> V:
        try:
            return await work()
        finally:
            flight = self._flights.get(key)
            if flight is not None and flight.task is asyncio.current_task():
                del self._flights[key]
