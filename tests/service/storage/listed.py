"""What a store under test, and its listing, hold."""

from typing import Any

import redis.asyncio as redis

from service.storage import changes
from service.storage.listing import KEYS, OLD


async def listed(raw: redis.Redis) -> list[Any]:
    """All entries, in no order."""
    return [entry for key in (*KEYS, OLD) for entry in await raw.zrange(key, 0, -1)]


def lists(key: bytes) -> bool:
    """Whether a key is one of the listing's."""
    return key.startswith(OLD.encode())


async def pictures_keys(raw: redis.Redis) -> set[Any]:
    """All keys but the stream that tells of changes."""
    return set(await raw.keys()) - {changes.KEY.encode()}
