"""Pictures that wait to be refined, and the uploads that they are refined from, in Redis.

``{id}:original``  hash: ``data``, the upload's bytes; ``crc``, their CRC-32; ``tries``, how often they were
                   taken; ``lease``, whose they are. It ends when its picture does.
``compass:refine`` sorted set: which pictures wait; the score is when one may be taken, by the clock of its
                   server, in milliseconds
``compass:bytes:{compass:refine}``
                   hash: how large their uploads are, and ``total``, all of them

In a cluster the first lies with its picture, the other two together on one server. What holds is the first,
which is written, and deleted, together with its picture; the queue is how it is found. Room in the queue is
taken before an upload is written and given back if it is not. An entry without an upload goes when it is
taken; an upload without an entry, left by a service that died in between, is found by :meth:`Waiting.mend`.

Who takes a picture puts its time some seconds ahead, a lease, and again and again as long as it works; if it
dies, the picture may be taken when the lease is over. Only the server's clock counts. A lease that was lost
is noticed by its name before anything is written. Each script begins with a deletion, which a full store
allows, and with it what follows.
"""

import secrets
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any
from zlib import crc32

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from service.errors import DamagedStream, NotFound, StoreUnavailable
from service.storage.errands import Errands
from service.storage.leases import LEASE_SECONDS
from service.storage.records import original_key, picture_of_original, stream_key

MOST_TRIES = 3
"""A picture that was taken so often is given up."""
MOST_MEMORY = 0.8
"""No upload is kept where the store would use more than this part of the memory that it may use."""

QUEUE, SIZES = "compass:refine", "compass:bytes:{compass:refine}"
_OLD_SIZES = "compass:refine:bytes"
"""Where earlier versions kept the sizes: in a cluster, on another server."""
_BATCH = 500

_QUEUE = """
local queue, sizes = KEYS[1], KEYS[2]
local function now()
    local time = redis.call('TIME')
    return 1000 * tonumber(time[1]) + math.floor(tonumber(time[2]) / 1000)
end
local function forget(id)
    redis.call('ZREM', queue, id)
    local size = redis.call('HGET', sizes, id)
    if size then
        redis.call('HDEL', sizes, id)
        redis.call('HINCRBY', sizes, 'total', -tonumber(size))
    end
end
local function enter(id, size, free)
    forget(id)
    redis.call('ZADD', queue, free, id)
    redis.call('HSET', sizes, id, size)
    redis.call('HINCRBY', sizes, 'total', size)
end
"""

_RESERVE = (
    _QUEUE
    + """
local id, size, budget, pause = unpack(ARGV)
forget(id)
local total = tonumber(redis.call('HGET', sizes, 'total') or '0')
if budget ~= '' and total + tonumber(size) > tonumber(budget) then return 0 end
enter(id, size, now() + tonumber(pause))
return 1
"""
)

_ENTER = _QUEUE + "enter(ARGV[1], ARGV[2], now())"

_PICK = (
    _QUEUE
    + """
local wanted, length = unpack(ARGV)
local id = wanted
if id == '' then
    id = redis.call('ZRANGEBYSCORE', queue, '-inf', now(), 'LIMIT', 0, 1)[1]
elseif tonumber(redis.call('ZSCORE', queue, id) or 'inf') > now() then
    id = nil
end
if not id then return nil end
redis.call('ZREM', queue, id)
redis.call('ZADD', queue, now() + tonumber(length), id)
return id
"""
)

_POSTPONE = (
    _QUEUE
    + """
local id, pause = unpack(ARGV)
if redis.call('ZREM', queue, id) == 1 then redis.call('ZADD', queue, now() + tonumber(pause), id) end
"""
)

_FORGET = _QUEUE + "for _, id in ipairs(ARGV) do forget(id) end"

_ENLIST = (
    _QUEUE
    + """
local id, size = unpack(ARGV)
local free = redis.call('ZSCORE', queue, id)
if free and redis.call('HGET', sizes, id) == size then return 0 end
enter(id, size, free or now())
return free and 0 or 1
"""
)

_COUNT = (
    _QUEUE
    + """
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
"""
)

_KEEP = """
local original = KEYS[1]
local data, crc, left, most = unpack(ARGV)
redis.call('DEL', original)
local memory = redis.call('INFO', 'memory')
local used = tonumber(string.match(memory, 'used_memory:(%d+)'))
local limit = tonumber(string.match(memory, 'maxmemory:(%d+)'))
if limit > 0 and used + #data > tonumber(most) * limit then return 0 end
redis.call('HSET', original, 'data', data, 'crc', crc, 'tries', 0)
if left ~= '' then redis.call('PEXPIRE', original, left) end
return 1
"""

_CLAIM = """
local original = KEYS[1]
local lease, most = unpack(ARGV)
local tries = tonumber(redis.call('HGET', original, 'tries') or '-1')
if tries < 0 or tries >= tonumber(most) then
    redis.call('DEL', original)
    return tries < 0 and 0 or -1
end
redis.call('HDEL', original, 'lease')
redis.call('HINCRBY', original, 'tries', 1)
redis.call('HSET', original, 'lease', lease)
return tries + 1
"""

_RELEASE = """
local original = KEYS[1]
local lease, untried = unpack(ARGV)
if redis.call('HGET', original, 'lease') ~= lease then return 0 end
redis.call('HDEL', original, 'lease')
if untried == '1' then redis.call('HINCRBY', original, 'tries', -1) end
return 1
"""

_FINISH = """
if redis.call('HGET', KEYS[1], 'lease') ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""

_SIZE = """
if redis.call('TYPE', KEYS[1]).ok == 'hash' and redis.call('EXISTS', KEYS[2]) == 1 then
    return redis.call('HSTRLEN', KEYS[1], 'data')
end
redis.call('DEL', KEYS[1])
return -1
"""


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

    async def reserve(self, picture: str, size: int, budget: int | None) -> bool:
        """Take room in the queue for an upload that is about to be written, which may not be taken before
        :meth:`enter`; False if with it there would be more than ``budget`` bytes of uploads (None: no limit).
        """
        limit = "" if budget is None else budget
        return bool(await self._queued(_RESERVE, picture, size, limit, _milliseconds(LEASE_SECONDS)))

    async def enter(self, picture: str, size: int) -> None:
        """A picture whose upload was written waits from now on. If that fails, :meth:`mend` does it."""
        with suppress(StoreUnavailable, DamagedStream):
            await self._queued(_ENTER, picture, size)

    async def forget(self, *pictures: str) -> None:
        """Take pictures out of the queue whose uploads were deleted. If that fails, who takes one does it."""
        with suppress(StoreUnavailable, DamagedStream):
            await self._queued(_FORGET, *pictures)

    async def take(self, picture: str = "") -> tuple[Taken | None, int]:
        """The picture that has waited longest, or that one if it waits, now ours for LEASE_SECONDS; None if
        there is none. And how many were given up meanwhile.
        """
        lease, given_up = secrets.token_hex(16), 0
        while found := await self._queued(_PICK, picture, _milliseconds(LEASE_SECONDS)):
            name = found.decode()
            tries = int(await self._kept(_CLAIM, name, lease, MOST_TRIES))
            if tries > 0:
                return Taken(name, lease, tries), given_up
            given_up += tries < 0
            await self._queued(_FORGET, name)
        return None, given_up

    async def renew(self, taken: Taken) -> bool:
        """Keep it for another LEASE_SECONDS; False if it is ours no more, or gone."""
        key = original_key(taken.picture)
        if await self._errands.read(key, partial(_lease, key)) != taken.lease.encode():
            return False
        await self._queued(_POSTPONE, taken.picture, _milliseconds(LEASE_SECONDS))
        return True

    async def give_back(self, taken: Taken, pause: float = 0.0, untried: bool = False) -> None:
        """Let it be taken again, after a pause in seconds; ``untried``: this time does not count."""
        if await self._kept(_RELEASE, taken.picture, taken.lease, int(untried)):
            await self._queued(_POSTPONE, taken.picture, _milliseconds(pause))

    async def finish(self, taken: Taken) -> None:
        """It waits no more, and its upload is deleted."""
        if await self._kept(_FINISH, taken.picture, taken.lease):
            await self.forget(taken.picture)

    async def original(self, taken: Taken) -> bytes:
        """The upload's bytes. Raises NotFound if it is gone or ours no more, DamagedStream."""
        key = original_key(taken.picture)
        data, crc, lease = await self._errands.read(key, partial(_upload, key))
        if data is None or lease != taken.lease.encode():
            raise NotFound(f"the upload of {taken.picture} waits no more")
        if crc != str(crc32(data)).encode():
            raise DamagedStream(f"the kept upload of {taken.picture} does not fit its checksum")
        return data

    async def counts(self) -> tuple[int, int]:
        """How many pictures wait, and the bytes of their uploads."""
        wanted = [(QUEUE, lambda pipe: pipe.zcard(QUEUE)), (SIZES, lambda pipe: pipe.hget(SIZES, "total"))]
        pictures, total = await self._errands.read_all(wanted)
        return int(pictures), int(total or 0)

    async def waits(self, picture: str) -> bool:
        """Whether a picture waits, be it taken or not."""
        return await self._errands.read(QUEUE, lambda client: client.zscore(QUEUE, picture)) is not None

    async def pictures(self) -> list[str]:
        """All that wait, whether they may be taken now or not, those that may earliest first."""
        found: Any = await self._errands.read(QUEUE, lambda client: client.zrange(QUEUE, 0, -1))
        return [picture.decode() for picture in found]

    async def mend(self) -> int:
        """Put kept uploads into the queue that are missing there, delete those whose picture is gone, and
        strike out what has no upload; returns how many were put into the queue.
        """
        enlisted = 0
        async for key in self._errands.keys("{*}:original"):
            picture = picture_of_original(key)
            if picture is None:
                continue
            size = int(await self._kept(_SIZE, picture))
            if size < 0:
                await self.forget(picture)
            else:
                enlisted += int(await self._queued(_ENLIST, picture, size))
        waiting = await self.pictures()
        for start in range(0, len(waiting), _BATCH):
            await self._strike_out(waiting[start : start + _BATCH])
        await self._queued(_COUNT)
        await self._errands.change(_OLD_SIZES, lambda client: client.delete(_OLD_SIZES))
        return enlisted

    async def _strike_out(self, pictures: Sequence[str]) -> None:
        """Take those out of the queue that have no upload."""
        wanted = [(key, partial(_queue_exists, key=key)) for key in map(original_key, pictures)]
        there = await self._errands.read_all(wanted)
        lost = [picture for picture, found in zip(pictures, there, strict=True) if not found]
        if lost:
            await self.forget(*lost)

    async def _queued(self, script: str, *arguments: str | int) -> Any:
        """Run a script on the queue."""
        return await self._errands.change(
            QUEUE, lambda client: client.eval(script, 2, QUEUE, SIZES, *arguments)
        )

    async def _kept(self, script: str, picture: str, *arguments: str | int) -> Any:
        """Run a script on the upload of a picture."""
        keys = original_key(picture), stream_key(picture)
        return await self._errands.change(keys[0], lambda client: client.eval(script, 2, *keys, *arguments))


def queue_keep(pipe: Pipeline, picture: str, data: bytes, left: int | None) -> None:
    """Queue the command that keeps an upload for so many milliseconds (None: for ever), its answer 1; or
    deletes one that was kept, its answer 0, if it would be too large for the memory of the server.
    """
    limits = ("" if left is None else left, MOST_MEMORY)
    pipe.eval(_KEEP, 1, original_key(picture), data, crc32(data), *limits)


def queue_drop(pipe: Pipeline, picture: str) -> None:
    """Queue the command that deletes a picture's upload, its answer 1 if there was one."""
    pipe.delete(original_key(picture))


async def watch_lease(pipe: Pipeline, taken: Taken) -> bool:
    """Watch the lease in a transaction that is only carried out if it does not change; whether it is ours."""
    await pipe.watch(original_key(taken.picture))
    answer: Any = pipe.hget(original_key(taken.picture), "lease")
    return bool(await answer == taken.lease.encode())


def _lease(key: str, client: Redis) -> Awaitable[bytes | None]:
    return client.hget(key, "lease")  # type: ignore[return-value]


def _upload(key: str, client: Redis) -> Awaitable[list[bytes | None]]:
    return client.hmget(key, ["data", "crc", "lease"])  # type: ignore[return-value]


def _queue_exists(pipe: Pipeline, key: str) -> None:
    pipe.exists(key)


def _milliseconds(seconds: float) -> int:
    return round(1000 * seconds)
