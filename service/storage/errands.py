"""Errands to Redis: how long each may take, which are tried again, and Redis's errors as ours."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import OutOfMemoryError, RedisError, ResponseError

from service.errors import DamagedStream, StoreFull, StoreUnavailable
from service.metrics import Metrics

_PAUSES = (0.05, 0.1, 0.2)
"""Seconds before a reading whose connection was lost is tried again."""

_FULL = ("MISCONF", "OOM")
"""What Redis says in refusing writes when its disk, or its memory, is full."""

R = TypeVar("R")


class Errands:
    """Each errand has so many seconds in all, whatever it waits for. Readings are tried again when their
    connection is lost, writes are not: a write may be what ends the server, on a full disk.

    Raises StoreUnavailable, StoreFull or DamagedStream.
    """

    def __init__(self, redis: Redis, seconds: float, metrics: Metrics) -> None:
        self._redis = redis
        self._seconds = seconds
        self._metrics = metrics

    @asynccontextmanager
    async def one(self) -> AsyncIterator[Redis]:
        """An errand: its time, and Redis's errors as ours. Whoever is cancelled gets no further, even where
        redis-py swallows the cancellation.
        """
        task = asyncio.current_task()
        before = task.cancelling() if task else 0
        with self.errors():
            try:
                async with asyncio.timeout(self._seconds):
                    yield self._redis
            finally:
                if task and task.cancelling() > before:
                    raise asyncio.CancelledError

    async def read(self, ask: Callable[[Redis], Awaitable[R]]) -> R:
        """A reading errand, which may be asked again."""
        async with self.one() as client:
            for pause in _PAUSES:
                try:
                    return await ask(client)
                except ConnectionLost:
                    await asyncio.sleep(pause)
            return await ask(client)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Redis's errors as ours, counted; damage is counted, too."""
        try:
            yield
        except DamagedStream:
            self._metrics.damaged.inc()
            raise
        except OutOfMemoryError as error:
            self._metrics.store_errors.inc()
            raise StoreFull("the store has no room left for another picture") from error
        except ResponseError as error:
            self._metrics.store_errors.inc()
            if is_of_another_type(error):
                self._metrics.damaged.inc()
                raise DamagedStream("what is stored of the picture is of another type") from error
            if any(word in str(error) for word in _FULL):  # inside MULTI it is an ordinary error
                raise StoreFull("the store has no room left for another picture") from error
            raise StoreUnavailable(f"the store refused: {error}") from error
        except (RedisError, OSError) as error:
            self._metrics.store_errors.inc()
            raise StoreUnavailable("the store does not answer", retry_after=2) from error


async def together(client: Redis, *commands: Callable[[Pipeline], object]) -> list[Any]:
    """Carry out commands in one MULTI; returns their answers, which are errors where a key is of another type
    than it should be.
    """
    async with client.pipeline(transaction=True) as pipe:
        for queue in commands:
            queue(pipe)
        answers: list[Any] = await pipe.execute(raise_on_error=False)
        for answer in answers:
            if isinstance(answer, RedisError) and not is_of_another_type(answer):
                raise answer
        return answers


def is_of_another_type(error: object) -> bool:
    """Whether Redis says that a key is of another type than it should be."""
    return isinstance(error, ResponseError) and "WRONGTYPE" in str(error)


def raw(value: object) -> bytes:
    """An answer of Redis as bytes; nothing there is b""."""
    return value if isinstance(value, bytes) else b""
