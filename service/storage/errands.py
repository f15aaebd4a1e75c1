"""Errands to Redis: to whom, how long each may take, which are tried again, and Redis's errors as ours."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as ConnectionLost

from service.errors import DamagedStream, StoreFull, StoreUnavailable
from service.metrics import Metrics
from service.storage.promises import Promise
from service.storage.servers import Servers, held

_PAUSES = (0.05, 0.1, 0.2)
"""Seconds before a reading whose connection was lost is tried again."""
_MOVING = 0.05
"""Seconds between two looks whether a slot that is moving has arrived."""

_FULL = ("MISCONF", "OOM")
"""What Redis says in refusing writes when its disk, or its memory, is full."""

R = TypeVar("R")
Ask = Callable[[Redis], Awaitable[R]]
Queue = Callable[[Pipeline], object]
"""Queues one command."""


class Errands:
    """Each errand has so many seconds in all, whatever it waits for. Readings are tried again when their
    connection is lost, writes are not: a write may be what ends the server, on a full disk. Both go on to
    another server where the one they came to holds the key no more, and has done nothing.

    Raises StoreUnavailable, StoreFull or DamagedStream.
    """

    def __init__(self, servers: Servers, promise: Promise, seconds: float, metrics: Metrics) -> None:
        self._servers = servers
        self._seconds = seconds
        self._metrics = metrics
        self.promise = promise

    async def read(self, key: str, ask: Ask[R]) -> R:
        """Ask the server that holds a key; perhaps again."""
        async with self._one():
            return await self._routed(key, ask, again=True)

    async def write(self, key: str, ask: Ask[R]) -> R:
        """Change what the server that holds a key has; returns when the change is as safe as was promised.

        ``ask`` is called with a connection of its own. Raises StoreUnavailable if the change may be lost, or
        may not have been made: nobody knows, then.
        """
        async with self._one() as timeout:
            until = timeout.when()

            async def kept(client: Redis) -> R:
                result = await ask(client)
                await self.promise.keep(client, until)
                return result

            return await self._routed(key, kept, again=False)

    async def change(self, key: str, ask: Ask[R]) -> R:
        """Change what nothing depends on: nothing is promised of it."""
        async with self._one():
            return await self._routed(key, ask, again=False)

    async def read_all(self, wanted: Sequence[tuple[str, Queue]]) -> list[Any]:
        """The answers to many commands, each with the key that it asks for: one transmission a server. Those
        that a server holds no more are asked for again. Answers are errors where a key is of another type.
        """
        async with self._one():
            shares: dict[Redis, list[int]] = {}
            for number, (key, _) in enumerate(wanted):
                shares.setdefault(await self._servers.of(key), []).append(number)
            answers: list[Any] = [None] * len(wanted)

            async def ask(client: Redis, numbers: list[int]) -> None:
                try:
                    found = await _in_a_row(client, [wanted[number][1] for number in numbers])
                except ConnectionLost as error:
                    found = [error] * len(numbers)
                for number, answer in zip(numbers, found, strict=True):
                    answers[number] = answer

            await asyncio.gather(*(ask(client, numbers) for client, numbers in shares.items()))
            for number, (key, queue) in enumerate(wanted):
                if isinstance(answers[number], RedisError) and not is_of_another_type(answers[number]):
                    (answers[number],) = await self._routed(key, _alone(queue), again=True)
            return answers

    async def each(self, ask: Ask[R]) -> list[R]:
        """The answers of all primaries."""
        async with self._one():
            return await self._again(lambda: self._of_each(ask))

    async def any(self, ask: Ask[R]) -> R:
        """The first answer of a primary."""
        async with self._one():
            last: Exception = ConnectionLost("no server is known")
            asking = [asyncio.ensure_future(ask(client)) for client in await self._servers.primaries()]
            try:
                for answer in asyncio.as_completed(asking):
                    try:
                        return await answer
                    except (RedisError, OSError) as error:
                        last = error
                self._servers.doubt()
                raise last
            finally:
                for one in asking:
                    one.cancel()
                await asyncio.gather(*asking, return_exceptions=True)

    async def keys(self, pattern: str) -> AsyncIterator[bytes]:
        """All keys like a pattern, in no order, perhaps more than once. Those of slots that move meanwhile
        may be missing.
        """
        seen: set[Redis] = set()
        while True:
            async with self._one():
                unseen = [client for client in await self._servers.primaries() if client not in seen]
            if not unseen:
                return
            for client in unseen:
                seen.add(client)
                cursor: int | None = None
                while cursor != 0:
                    scan = partial(client.scan, cursor or 0, match=pattern, count=1000)
                    async with self._one():
                        cursor, found = await self._again(scan)
                    for key in found:
                        yield raw(key)

    @asynccontextmanager
    async def _one(self) -> AsyncIterator[asyncio.Timeout]:
        """An errand: its time, and Redis's errors as ours. Whoever is cancelled gets no further, even where
        redis-py swallows the cancellation.
        """
        task = asyncio.current_task()
        before = task.cancelling() if task else 0
        with self.errors():
            try:
                async with asyncio.timeout(self._seconds) as timeout:
                    yield timeout
            except OSError:  # one that hangs may have been replaced
                self._servers.doubt()
                raise
            finally:
                if task and task.cancelling() > before:
                    raise asyncio.CancelledError

    async def _routed(self, key: str, ask: Ask[R], again: bool) -> R:
        """Ask who holds a key, whoever that is; ``again``: also where the connection was lost."""
        pauses = iter(_PAUSES)
        asked = ask if again else _held(ask)
        while True:
            try:
                try:
                    return await asked(await self._servers.of(key))
                except AskError as error:
                    if isinstance(error, MovedError):
                        raise
                    moving = self._servers.at((error.host, error.port))
                    return await _held(ask, asking=True)(moving)
            except (MovedError, AskError, TryAgainError):
                await asyncio.sleep(_MOVING)
                if not await self._servers.look():
                    raise
            except (ClusterDownError, ReadOnlyError):  # what was asked was not done
                pause = next(pauses, None)
                if pause is None or not await self._servers.look():
                    raise
                await asyncio.sleep(pause)
            except RedisError as error:
                self._servers.doubt()
                pause = next(pauses, None) if again and isinstance(error, ConnectionLost) else None
                if pause is None:
                    raise
                await asyncio.sleep(pause)

    async def _again(self, ask: Callable[[], Awaitable[R]]) -> R:
        """A reading, again when the connection is lost."""
        for pause in _PAUSES:
            try:
                return await ask()
            except ConnectionLost:
                self._servers.doubt()
                await asyncio.sleep(pause)
        return await ask()

    async def _of_each(self, ask: Ask[R]) -> list[R]:
        return list(await asyncio.gather(*(ask(client) for client in await self._servers.primaries())))

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
            raise StoreUnavailable("the store does not answer") from error


async def together(client: Redis, *commands: Queue) -> list[Any]:
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


async def _in_a_row(client: Redis, commands: Sequence[Queue]) -> list[Any]:
    """Send commands in one transmission; their answers may be errors."""
    async with client.pipeline(transaction=False) as pipe:
        for queue in commands:
            queue(pipe)
        answers: list[Any] = await pipe.execute(raise_on_error=False)
        return answers


def _alone(queue: Queue) -> Ask[list[Any]]:
    """One command as something to ask."""

    async def ask(client: Redis) -> list[Any]:
        return await together(client, queue)

    return ask


def _held(ask: Ask[R], asking: bool = False) -> Ask[R]:
    """The same over a connection of its own."""

    async def with_one(client: Redis) -> R:
        async with held(client, asking) as one:
            return await ask(one)

    return with_one


def is_of_another_type(error: object) -> bool:
    """Whether Redis says that a key is of another type than it should be."""
    return isinstance(error, ResponseError) and "WRONGTYPE" in str(error)


def raw(value: object) -> bytes:
    """An answer of Redis as bytes; nothing there is b""."""
    return value if isinstance(value, bytes) else b""
