"""Pictures that wait to be refined, and the uploads that they are refined from, in Redis.

``{id}:original``         hash: ``data``, the upload's bytes; ``crc``, their CRC-32; ``tries``, how often they
                          were taken; ``lease``, whose they are. It ends when its picture does.
``compass:refine``        sorted set: which pictures wait; the score is when one may be taken, by the server's
                          clock, in milliseconds
``compass:refine:bytes``  hash: how large their uploads are, and ``total``, all of them

A picture is written into the queue together with itself. Who takes one puts its time some seconds ahead, a
lease, and again and again as long as it works; if it dies, the picture may be taken when the lease is over.
Only the server's clock counts. A lease that was lost is noticed by its name before anything is written. Every
change is one script, so that nothing of it is ever half done; each begins with a deletion, which a full store
allows, and with it what follows.
"""

import secrets
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any
from zlib import crc32

from redis.asyncio.client import Pipeline

from service.errors import DamagedStream, NotFound
from service.storage.errands import Errands
from service.storage.records import original_key, picture_of_original

LEASE_SECONDS = 60.0
"""A picture is somebody's for so long; it is asked for again after a third of it."""
MOST_TRIES = 3
"""A picture that was taken so often is given up."""
MOST_MEMORY = 0.8
"""No upload is kept where the store would use more than this part of the memory that it may use."""

_QUEUE, _SIZES = "compass:refine", "compass:refine:bytes"

_COMMON = """
local queue, sizes = 'compass:refine', 'compass:refine:bytes'
local function now()
    local time = redis.call('TIME')
    return 1000 * tonumber(time[1]) + math.floor(tonumber(time[2]) / 1000)
end
local function original(id) return '{' .. id .. '}:original' end
local function forget(id)
    redis.call('ZREM', queue, id)
    local size = redis.call('HGET', sizes, id)
    if size then
        redis.call('HDEL', sizes, id)
        redis.call('HINCRBY', sizes, 'total', -tonumber(size))
    end
end
local function drop(id)
    redis.call('DEL', original(id))
    forget(id)
end
local function holds(id, lease)
    return redis.call('HGET', original(id), 'lease') == lease
end
"""

_OFFER = (
    _COMMON
    + """
local id, data, crc, left, budget, most = unpack(ARGV)
drop(id)
local total = tonumber(redis.call('HGET', sizes, 'total') or '0')
if budget ~= '' and total + #data > tonumber(budget) then return 0 end
local memory = redis.call('INFO', 'memory')
local used = tonumber(string.match(memory, 'used_memory:(%d+)'))
local limit = tonumber(string.match(memory, 'maxmemory:(%d+)'))
if limit > 0 and used + #data > tonumber(most) * limit then return 0 end
redis.call('HSET', original(id), 'data', data, 'crc', crc, 'tries', 0)
if left ~= '' then redis.call('PEXPIRE', original(id), left) end
redis.call('ZADD', queue, now(), id)
redis.call('HSET', sizes, id, #data)
redis.call('HINCRBY', sizes, 'total', #data)
return 1
"""
)

_TAKE = (
    _COMMON
    + """
local lease, length, most, wanted = unpack(ARGV)
local given_up, seen = 0, 0
while seen < 1000 do
    seen = seen + 1
    local id = wanted
    if id == '' then
        id = redis.call('ZRANGEBYSCORE', queue, '-inf', now(), 'LIMIT', 0, 1)[1]
    else
        local free = tonumber(redis.call('ZSCORE', queue, id) or 'inf')
        if free > now() then id = nil end
    end
    if not id then break end
    local tries = redis.call('HGET', original(id), 'tries')
    if not tries then
        drop(id)
    elseif tonumber(tries) >= tonumber(most) then
        drop(id)
        given_up = given_up + 1
    else
        redis.call('HDEL', original(id), 'lease')
        redis.call('HINCRBY', original(id), 'tries', 1)
        redis.call('HSET', original(id), 'lease', lease)
        redis.call('ZADD', queue, now() + tonumber(length), id)
        return {given_up, id, tonumber(tries) + 1}
    end
end
return {given_up}
"""
)

_RENEW = (
    _COMMON
    + """
local id, lease, length = unpack(ARGV)
if not holds(id, lease) then return 0 end
redis.call('ZREM', queue, id)
redis.call('ZADD', queue, now() + tonumber(length), id)
return 1
"""
)

_GIVE_BACK = (
    _COMMON
    + """
local id, lease, pause, untried = unpack(ARGV)
if not holds(id, lease) then return 0 end
redis.call('HDEL', original(id), 'lease')
if untried == '1' then redis.call('HINCRBY', original(id), 'tries', -1) end
redis.call('ZADD', queue, now() + tonumber(pause), id)
return 1
"""
)

_FINISH = (
    _COMMON
    + """
local id, lease = unpack(ARGV)
if not holds(id, lease) then return 0 end
drop(id)
return 1
"""
)

_DROP = _COMMON + "drop(ARGV[1])"

_ENLIST = (
    _COMMON
    + """
local id = ARGV[1]
if redis.call('EXISTS', '{' .. id .. '}:stream') == 0 or redis.call('TYPE', original(id)).ok ~= 'hash' then
    drop(id)
    return 0
end
if redis.call('ZSCORE', queue, id) then return 0 end
local size = redis.call('HSTRLEN', original(id), 'data')
redis.call('ZREM', queue, id)
redis.call('ZADD', queue, now(), id)
redis.call('HSET', sizes, id, size)
redis.call('HINCRBY', sizes, 'total', size)
return 1
"""
)

_MEND = (
    _COMMON
    + """
local lost = 0
for _, id in ipairs(redis.call('ZRANGE', queue, 0, -1)) do
    if redis.call('EXISTS', original(id)) == 0 then
        forget(id)
        lost = lost + 1
    end
end
local total = 0
local known = redis.call('HGETALL', sizes)
for k = 1, #known, 2 do
    if known[k] ~= 'total' then
        if redis.call('ZSCORE', queue, known[k]) then
            total = total + tonumber(known[k + 1])
        else
            redis.call('HDEL', sizes, known[k])
        end
    end
end
redis.call('HDEL', sizes, 'total')
if total > 0 then redis.call('HSET', sizes, 'total', total) end
return lost
"""
)


@dataclass(frozen=True)
class Taken:
    """A picture that nobody else refines as long as its ``lease`` is renewed; ``tries`` counts this one."""

    picture: str
    lease: str
    tries: int

    @property
    def last(self) -> bool:
        """Whether it will not be tried again."""
        return self.tries >= MOST_TRIES


class Waiting:
    """The queue of one store. Raises StoreUnavailable, whatever else is said of a method."""

    def __init__(self, errands: Errands) -> None:
        self._errands = errands

    async def take(self, picture: str = "") -> tuple[Taken | None, int]:
        """The picture that has waited longest, or that one if it waits, now ours for LEASE_SECONDS; None if
        there is none. And how many were given up meanwhile.
        """
        lease = secrets.token_hex(16)
        given_up, *found = await self._run(_TAKE, lease, _milliseconds(LEASE_SECONDS), MOST_TRIES, picture)
        return Taken(found[0].decode(), lease, int(found[1])) if found else None, int(given_up)

    async def renew(self, taken: Taken) -> bool:
        """Keep it for another LEASE_SECONDS; False if it is ours no more, or gone."""
        return bool(await self._run(_RENEW, taken.picture, taken.lease, _milliseconds(LEASE_SECONDS)))

    async def give_back(self, taken: Taken, pause: float = 0.0, untried: bool = False) -> None:
        """Let it be taken again, after a pause in seconds; ``untried``: this time does not count."""
        await self._run(_GIVE_BACK, taken.picture, taken.lease, _milliseconds(pause), int(untried))

    async def finish(self, taken: Taken) -> None:
        """It waits no more, and its upload is deleted."""
        await self._run(_FINISH, taken.picture, taken.lease)

    async def original(self, taken: Taken) -> bytes:
        """The upload's bytes. Raises NotFound if it is gone or ours no more, DamagedStream."""
        async with self._errands.one() as client:
            answer: Awaitable[list[bytes | None]]
            answer = client.hmget(original_key(taken.picture), ["data", "crc", "lease"])  # type: ignore[assignment]
            data, crc, lease = await answer
        if data is None or lease != taken.lease.encode():
            raise NotFound(f"the upload of {taken.picture} waits no more")
        if crc != str(crc32(data)).encode():
            raise DamagedStream(f"the kept upload of {taken.picture} does not fit its checksum")
        return data

    async def counts(self) -> tuple[int, int]:
        """How many pictures wait, and the bytes of their uploads."""
        async with self._errands.one() as client:
            pipe = client.pipeline()
            pipe.zcard(_QUEUE)
            pipe.hget(_SIZES, "total")
            pictures, total = await pipe.execute()
        return int(pictures), int(total or 0)

    async def waits(self, picture: str) -> bool:
        """Whether a picture waits, be it taken or not."""
        async with self._errands.one() as client:
            return await client.zscore(_QUEUE, picture) is not None

    async def pictures(self) -> list[str]:
        """All that wait, whether they may be taken now or not, those that may earliest first."""
        async with self._errands.one() as client:
            found: Any = await client.zrange(_QUEUE, 0, -1)
        return [picture.decode() for picture in found]

    async def mend(self) -> int:
        """Put kept uploads into the queue that are missing there, delete those whose picture is gone, and
        strike out what has no upload; returns how many were put into the queue.
        """
        enlisted, cursor = 0, None
        while cursor != 0:
            async with self._errands.one() as client:
                found: Any = await client.scan(cursor or 0, match="{*}:original", count=1000)
            cursor, keys = found
            for picture in filter(None, map(picture_of_original, keys)):
                enlisted += int(await self._run(_ENLIST, picture))
        await self._run(_MEND)
        return enlisted

    async def _run(self, script: str, *arguments: object) -> Any:
        async with self._errands.one() as client:
            return await client.eval(script, 0, *arguments)  # type: ignore[arg-type]


def queue_offer(pipe: Pipeline, picture: str, data: bytes, left: int | None, budget: int | None) -> None:
    """Queue the command that keeps an upload for so many milliseconds (None: for ever), its answer 1; or
    deletes one that was kept, its answer 0, if with it there would be more than ``budget`` bytes of uploads
    (None: no limit), or too many for the store's memory.
    """
    limits = ("" if left is None else left, "" if budget is None else budget, MOST_MEMORY)
    pipe.eval(_OFFER, 0, picture, data, crc32(data), *limits)


def queue_drop(pipe: Pipeline, picture: str) -> None:
    """Queue the command that deletes a picture's upload, and takes it out of the queue."""
    pipe.eval(_DROP, 0, picture)


async def watch_lease(pipe: Pipeline, taken: Taken) -> bool:
    """Watch the lease in a transaction that is only carried out if it does not change; whether it is ours."""
    await pipe.watch(original_key(taken.picture))
    answer: Any = pipe.hget(original_key(taken.picture), "lease")
    return bool(await answer == taken.lease.encode())


def _milliseconds(seconds: float) -> int:
    return round(1000 * seconds)
