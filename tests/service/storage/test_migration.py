"""Moving what earlier versions have listed, while the store fails."""

import asyncio

import pytest

from service.errors import StoreFull
from service.storage import migration
from service.storage.listing import OLD
from service.storage.migration import migrate
from tests.service.storage.test_listing import entry, names, walk


async def test_moving_goes_on_where_the_store_failed(store, raw, monkeypatch, caplog):
    monkeypatch.setattr(migration, "RETRY_SECONDS", 0.05)
    entries = [entry(name, number) for number, name in enumerate(names(1200))]
    await raw.zadd(OLD, dict.fromkeys(entries, 0))
    await raw.config_set("maxmemory", 1)
    with pytest.raises(StoreFull):
        await store.catalogue.move()
    moving = asyncio.create_task(migrate(store))
    while "is moved later" not in caplog.text:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert await walk(store, 500) == sorted(entries, reverse=True)
    await raw.config_set("maxmemory", 0)
    await asyncio.wait_for(moving, 20)
    assert not await raw.exists(OLD)
    assert await walk(store, 500) == sorted(entries, reverse=True)
