"""What is promised of a change before it is acknowledged: so many replicas have it, or disks."""

import asyncio

from redis.asyncio import Redis

from service.errors import StoreUnavailable
from service.metrics import Metrics

_ANSWER_SECONDS = 0.25
"""Of the time that is left, how much is for the answer: servers look whether it is up ten times a second."""


_NOTHING = """
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], '')
redis.call('DEL', KEYS[1])
"""
"""A change that leaves nothing. It begins with a deletion, which a full server allows, and so the rest."""


class Promise:
    """``replicas`` have a change beside the primary; with ``synced`` they and the primary have it in their
    append-only files, on disk.
    """

    def __init__(self, replicas: int, synced: bool, metrics: Metrics) -> None:
        self._replicas = replicas
        self._synced = synced
        self._metrics = metrics

    @property
    def asked(self) -> bool:
        """Whether more is promised than that the primary has it."""
        return self._synced or self._replicas > 0

    async def follow(self, one: Redis, key: str) -> None:
        """Change nothing, so that what others have written before, where ``key`` lies, can be waited for."""
        if self.asked:
            await one.eval(_NOTHING, 1, f"{key}:nothing")

    async def keep(self, one: Redis, until: float | None) -> None:
        """Return when all that was written over ``one``, a single connection, is as safe as promised.

        ``until``, by the event loop's clock, is when that must be. Raises StoreUnavailable if it is not by
        then. What was written stays where it is: it may be lost, or not.
        """
        if not self.asked:
            return
        left = 60.0 if until is None else until - asyncio.get_running_loop().time()
        milliseconds = max(1, round(1000 * max(left - _ANSWER_SECONDS, left / 2)))
        if self._synced:
            disks, replicas = await one.execute_command("WAITAOF", 1, self._replicas, milliseconds)
        else:
            disks, replicas = 0, await one.execute_command("WAIT", self._replicas, milliseconds)
        if replicas < self._replicas or disks < self._synced:
            self._metrics.store_unconfirmed.inc()
            where = "append-only files of replicas" if self._synced else "replicas"
            missing = f"{replicas} of {self._replicas} {where} have it"
            if disks < self._synced:
                missing += ", and the primary's append-only file has it not"
            raise StoreUnavailable(
                f"the store made the change, but not safely: {missing}; send the request again"
            )
