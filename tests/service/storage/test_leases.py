"""Whose a picture is to be worked on."""

import asyncio

import pytest

from service.storage import leases as module
from service.storage.leases import LEASE_SECONDS, watch_token

PICTURE = "a" * 32


async def test_one_has_a_picture_until_it_is_given_back(store, raw):
    lease = await store.leases.take(PICTURE)
    assert lease is not None
    assert await store.leases.take(PICTURE) is None
    assert await store.leases.take("b" * 32) is not None
    assert 0 < await raw.pttl(f"{{{PICTURE}}}:lease") <= 1000 * LEASE_SECONDS
    assert await store.leases.renew(lease)
    await store.leases.give_back(lease)
    assert not await store.leases.renew(lease)
    assert await store.leases.take(PICTURE) is not None


async def test_who_hangs_loses_it(store, monkeypatch):
    with monkeypatch.context() as brief:
        brief.setattr(module, "LEASE_SECONDS", 0.05)
        lost = await store.leases.take(PICTURE)
    await asyncio.sleep(0.1)
    other = await store.leases.take(PICTURE)
    assert other is not None
    assert not await store.leases.renew(lost)
    await store.leases.give_back(lost)  # frees nothing that is another's
    assert await store.leases.renew(other)


@pytest.mark.parametrize("ours", [True, False])
async def test_who_writes_watches_it(store, raw, ours):
    lease = await store.leases.take(PICTURE)
    if not ours:
        await raw.set(f"{{{PICTURE}}}:lease", "another's")
    async with raw.pipeline(transaction=True) as pipe:
        assert await watch_token(pipe, lease) == ours
