"""Who needs an object that several pictures share: told in Redis, changed under a lock.

``compass:original:{sha256}``       hash: each picture that needs the object, and since when, in milliseconds
``compass:original:{sha256}:lock``  whoever writes or deletes the object, for as long as both may take

A picture is put down as needing an object before the object is written, and is crossed out after the picture
is deleted, by who remembers since when it was needed: a picture that was stored again meanwhile stays.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from service.errors import StoreUnavailable
from service.storage.errands import Errands, raw
from service.storage.leases import TAKE_IF_FREE

_LOOK_SECONDS = 0.02

_UNLOCK = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"

_NEED = """
redis.call('HDEL', KEYS[1], ARGV[1])
return redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
"""
"""It begins with a deletion, which a full store allows, and with it what follows: a picture that is there
already can be uploaded again, and what nobody needs can be deleted.
"""

_STRIKE = """
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return -1 end
redis.call('HDEL', KEYS[1], ARGV[1])
return redis.call('HLEN', KEYS[1])
"""


class References:
    """The pictures that need each object, which ``name`` names. Raises StoreUnavailable."""

    def __init__(self, errands: Errands) -> None:
        self._errands = errands

    @asynccontextmanager
    async def lock(self, name: str, seconds: float, patience: float) -> AsyncIterator[None]:
        """Be the only one to change an object, for at most ``seconds``. Whoever waits longer than
        ``patience`` seconds for it gets StoreUnavailable.
        """
        key, token, until = _lock_key(name), secrets.token_hex(16), time.monotonic() + patience
        try:
            while not await self._taken(name, token, seconds):
                if time.monotonic() > until:
                    raise StoreUnavailable("others are writing the same upload")
                await asyncio.sleep(_LOOK_SECONDS)
            yield
        finally:  # also for who was cancelled before it heard that it has the lock, or while it gives it back
            unlocking = asyncio.create_task(self._unlock(key, token))
            await asyncio.shield(unlocking)

    async def need(self, name: str, picture: str) -> None:
        """Put down, from now, that a picture needs an object."""
        key, now = _key(name), f"{time.time_ns() // 1_000_000}"
        await self._errands.write(key, lambda client: client.eval(_NEED, 1, key, picture, now))

    async def since(self, name: str, picture: str) -> str | None:
        """Since when a picture needs an object, in milliseconds since 1970; None if it does not."""
        found = raw(await self._errands.read(_key(name), lambda client: client.hget(_key(name), picture)))
        return found.decode() or None

    async def all(self, name: str) -> dict[str, str]:
        """Every picture that needs an object, and since when."""
        found: Any = await self._errands.read(_key(name), lambda client: client.hgetall(_key(name)))
        return {picture.decode(): since.decode() for picture, since in found.items()}

    async def strike(self, name: str, picture: str, since: str) -> int:
        """Cross out a picture that has needed an object since then; returns how many others need it, or -1 if
        it is not put down, or since another time. To be called under the lock.
        """
        key = _key(name)
        struck = await self._errands.write(key, lambda client: client.eval(_STRIKE, 1, key, picture, since))
        return int(struck)

    async def _unlock(self, key: str, token: str) -> None:
        await self._errands.change(key, lambda client: client.eval(_UNLOCK, 1, key, token))

    async def _taken(self, name: str, token: str, seconds: float) -> bool:
        key, milliseconds = _lock_key(name), round(1000 * seconds)
        return bool(
            await self._errands.change(
                key, lambda client: client.eval(TAKE_IF_FREE, 1, key, token, milliseconds)
            )
        )


def _key(name: str) -> str:
    return f"compass:original:{{{name}}}"


def _lock_key(name: str) -> str:
    return f"{_key(name)}:lock"
