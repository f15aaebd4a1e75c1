"""The cold tier: the large layers of pictures in an object store, which costs less than memory.

``cold/<id>/<token>``  object: the end of a stream, from the first layer that is wider than COMPASS_COLD_WIDTH
``{id}:cold``          set in Redis: the tokens of all such objects that there may be of a picture

The rest of the stream stays in Redis, and the picture's facts name the token, where the object begins in the
stream, and its SHA-256. Each move has a token of its own, so that what deletes an object never means
another's: one that is written is deleted only when its picture is, or when the facts have named another, or
none, for long. Layers are checked by the stream's own checksums, as they are in Redis.
"""

import logging
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from redis.asyncio.client import Pipeline

from model.stream.container import Header
from service.errors import DamagedStream, NotFound, ObjectsUnavailable
from service.metrics import Metrics
from service.settings import Settings
from service.storage.errands import Errands
from service.storage.objects import Objects
from service.storage.records import Cold, facts_key

FOLDER = "cold"

_PUT_IN = """
redis.call('SREM', KEYS[1], ARGV[1])
return redis.call('SADD', KEYS[1], ARGV[1])
"""
"""It begins with a deletion, which a full store allows, and with it what follows: moving layers away makes
room.
"""
_TAKE_OUT = """
local facts = redis.call('GET', KEYS[1])
if facts and string.find(facts, ARGV[1], 1, true) then return 0 end
return redis.call('SREM', KEYS[2], ARGV[1])
"""
"""Take a token out of a picture's tokens, unless the facts name it."""

log = logging.getLogger("compass")


@dataclass(frozen=True)
class Kept:
    """An object of the cold tier: whose it is, its token, and when it was written, in seconds since 1970."""

    picture: str
    token: str
    written: float

    @property
    def seconds(self) -> float:
        """How old it is."""
        return time.time() - self.written


class ColdTier:
    """The cold tier of one store. Raises StoreUnavailable or ObjectsUnavailable, whatever else is said of a
    method.

    Where ``objects`` is None there is none now, and what lies in one cannot be read.
    """

    def __init__(self, errands: Errands, objects: Objects | None, width: int, metrics: Metrics) -> None:
        """``width`` in pixels: wider layers are cold."""
        self._errands = errands
        self._objects = objects
        self._width = width
        self._metrics = metrics

    @property
    def is_set(self) -> bool:
        """Whether there is one."""
        return self._objects is not None

    def start(self, header: Header) -> int | None:
        """The first byte of a stream that is to be cold; None if none is. The smallest layer never is."""
        if header.layers[-1].width <= self._width:
            return None
        warm = [layer.end for layer in header.layers if layer.width <= self._width]
        end = warm[-1] if warm else header.layers[0].end
        return end if end < header.total else None

    async def write(self, picture: str, start: int, end: bytes) -> Cold:
        """Write the end of a stream, from byte ``start``, read it back and compare; what its facts have to
        say. Raises DamagedStream if something else comes back.
        """
        cold = Cold(start, secrets.token_hex(8), sha256(end).hexdigest())
        key = _tokens_key(picture)
        await self._errands.write(key, lambda client: client.eval(_PUT_IN, 1, key, cold.token))
        await self._given.put(_key(picture, cold.token), end)
        if await self._given.get(_key(picture, cold.token)) != end:
            raise DamagedStream("something else came back from the cold tier")
        return cold

    async def read(self, picture: str, cold: Cold, end: int) -> bytes:
        """The cold bytes of a stream up to byte ``end`` of it, by range. Raises DamagedStream if they are not
        there.
        """
        try:
            data = await self._given.part(_key(picture, cold.token), 0, end - cold.start)
        except NotFound as error:
            raise DamagedStream(f"the large layers of {picture} are missing in the cold tier") from error
        except ObjectsUnavailable:
            self._metrics.cold_errors.inc()
            raise
        self._metrics.cold_bytes_read.inc(len(data))
        return data

    async def delete(self, picture: str, tokens: set[bytes]) -> None:
        """Delete objects of a picture. Never raises: what cannot be deleted now is collected later."""
        for token in tokens:
            try:
                await self._given.delete(_key(picture, token.decode()))
                await self._forget(picture, token.decode())
            except Exception as error:
                log.warning("the cold layers of %s stay until they are collected: %s", picture, error)
                return

    async def list(self) -> AsyncIterator[Kept]:
        """All objects."""
        async for one in self._given.list(FOLDER):
            parts = one.key.split("/")
            if len(parts) == 3:
                yield Kept(parts[1], parts[2], one.written)

    async def is_ours(self, kept: Kept) -> bool:
        """Whether this store has written it: else nothing can be said of it."""
        key = _tokens_key(kept.picture)
        return bool(await self._errands.read(key, lambda client: client.sismember(key, kept.token)))

    async def remove(self, kept: Kept) -> bool:
        """Delete an object that no picture has; False if its picture does name it, or will.

        Its token goes first: without it no stream is cut any more (:func:`watch_cold`). So whatever the
        clocks say, nothing is deleted that a picture needs.
        """
        facts, tokens = facts_key(kept.picture), _tokens_key(kept.picture)
        taken = await self._errands.write(
            tokens, lambda client: client.eval(_TAKE_OUT, 2, facts, tokens, kept.token)
        )
        if not taken:
            return False
        try:
            await self._given.delete(_key(kept.picture, kept.token))
        except ObjectsUnavailable:  # it stays this store's, to be deleted another time
            await self._errands.write(tokens, lambda client: client.eval(_PUT_IN, 1, tokens, kept.token))
            raise
        return True

    async def _forget(self, picture: str, token: str) -> None:
        key = _tokens_key(picture)
        await self._errands.write(key, lambda client: client.srem(key, token))

    @property
    def _given(self) -> Objects:
        if self._objects is None:
            raise ObjectsUnavailable("the large layers lie in a cold tier, and COMPASS_COLD is not set")
        return self._objects


def cold_tier_of(settings: Settings, errands: Errands, metrics: Metrics) -> ColdTier:
    """The one that the settings name, if they do. Raises ObjectsUnavailable."""
    objects = Objects(settings.cold, settings) if settings.cold else None
    return ColdTier(errands, objects, settings.cold_width, metrics)


def queue_tokens(pipe: Pipeline, picture: str) -> None:
    """Queue the command whose answer is for :meth:`ColdTier.delete`: in the transaction that deletes the
    picture, since what is written for it afterwards is another picture's.
    """
    pipe.smembers(_tokens_key(picture))


async def watch_cold(pipe: Pipeline, picture: str, cold: Cold) -> bool:
    """Watch a picture's tokens in a transaction that is only carried out if they do not change; whether that
    of an object is still among them, so that nobody has begun to delete it.
    """
    await pipe.watch(_tokens_key(picture))
    answer: Any = pipe.sismember(_tokens_key(picture), cold.token)
    return bool(await answer)


def _tokens_key(picture: str) -> str:
    return f"{{{picture}}}:cold"


def _key(picture: str, token: str) -> str:
    return f"{FOLDER}/{picture}/{token}"
