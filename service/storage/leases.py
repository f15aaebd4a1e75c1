"""Whose a stored picture is to be worked on, for some seconds: ``{id}:lease``, a token that ends by itself.

Who dies frees the picture when the time is over; who merely hangs so long finds its token gone when it wants
to write, because whoever writes watches it.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from redis.asyncio.client import Pipeline

from service.errors import ServiceError
from service.storage.errands import Errands

LEASE_SECONDS = 60.0
"""A picture is somebody's for so long; it is asked for again after a third of it."""

TAKE_IF_FREE = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
"""Have a key, by a token, for so many milliseconds, unless somebody has it. The deletion is of nothing: a
full store allows it, and with it what follows, so that work which makes room can be begun.
"""
_IF_OURS = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end "
_RENEW = _IF_OURS + "return redis.call('PEXPIRE', KEYS[1], ARGV[2])"
_GIVE_BACK = _IF_OURS + "return redis.call('DEL', KEYS[1])"


@dataclass(frozen=True)
class Lease:
    """A picture that nobody else works on as long as the lease is renewed."""

    picture: str
    token: str


class Leases:
    """The leases of one store's pictures. Raises StoreUnavailable or StoreFull."""

    def __init__(self, errands: Errands) -> None:
        self._errands = errands

    async def take(self, picture: str) -> Lease | None:
        """Have a picture for LEASE_SECONDS; None if another has it."""
        lease = Lease(picture, secrets.token_hex(16))
        ours = await self._run(TAKE_IF_FREE, lease, _milliseconds())
        return lease if ours else None

    async def renew(self, lease: Lease) -> bool:
        """Keep it for another LEASE_SECONDS; False if it is ours no more."""
        return bool(await self._run(_RENEW, lease, _milliseconds()))

    async def give_back(self, lease: Lease) -> None:
        """Let others have it."""
        await self._run(_GIVE_BACK, lease)

    async def _run(self, script: str, lease: Lease, *arguments: int) -> Any:
        key = _key(lease.picture)
        return await self._errands.change(
            key, lambda client: client.eval(script, 1, key, lease.token, *arguments)
        )


async def renewed(renew: Callable[[], Awaitable[bool]]) -> None:
    """Renew a lease, be it one of these or of a picture that waits, until it is lost. A store that does not
    answer takes nothing from us.
    """
    while True:
        await asyncio.sleep(LEASE_SECONDS / 3)
        with suppress(ServiceError):
            if not await renew():
                return


async def watch_token(pipe: Pipeline, lease: Lease) -> bool:
    """Watch a lease in a transaction that is only carried out if it does not change; whether it is ours."""
    await pipe.watch(_key(lease.picture))
    answer: Any = pipe.get(_key(lease.picture))
    return bool(await answer == lease.token.encode())


def queue_revocation(pipe: Pipeline, picture: str) -> None:
    """Queue the command that takes a deleted picture from whoever has it: one that is stored again is not
    its.
    """
    pipe.delete(_key(picture))


def _key(picture: str) -> str:
    return f"{{{picture}}}:lease"


def _milliseconds() -> int:
    return round(1000 * LEASE_SECONDS)
