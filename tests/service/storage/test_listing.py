"""The sharded listing: ordered over all shards, what earlier versions listed included."""

import random
from collections import Counter

import pytest

from service.errors import StoreUnavailable
from service.storage import fsck
from service.storage.listing import KEYS, OLD, SHARDS, shard
from service.storage.records import picture_of
from tests.service.storage.listed import listed
from tests.service.storage.samples import STREAM, record

LETTERS = "abcdefghijklmnopqrstuvwxyz234567"


def names(number: int, seed: int = 0) -> list[str]:
    """Ids of pictures, all different."""
    chosen = random.Random(seed)
    return ["".join(chosen.choices(LETTERS, k=32)) for _ in range(number)]


def entry(picture: str, created: int) -> bytes:
    return f"{created:014d}:{picture}".encode()


async def fill(raw, entries) -> None:
    for one in entries:
        await raw.zadd(shard(picture_of(one)), {one: 0})


async def walk(store, limit: int) -> list[bytes]:
    """All entries, page by page."""
    found, cursor = [], None
    while page := await store._listing.entries(cursor, limit):
        found += page
        cursor = page[-1]
    return found


def test_every_server_of_a_cluster_has_its_share_of_the_shards():
    """Where slots are dealt out evenly, in ranges; and every shard has its share of the pictures."""
    from redis.crc import key_slot

    for servers in (3, 4, 6, 8):
        shares = Counter(key_slot(key.encode()) * servers // 16384 for key in KEYS)
        assert min(shares.values()) > 0.65 * SHARDS / servers
        assert max(shares.values()) < 1.35 * SHARDS / servers
    shares = Counter(map(shard, names(64_000)))
    assert set(shares) == set(KEYS)
    assert 800 < min(shares.values()) < max(shares.values()) < 1200


@pytest.mark.parametrize("limit", [1, 7, 100, 500])
async def test_pages_are_in_order_over_all_shards(store, raw, limit):
    """Also where many were stored at the same moment."""
    entries = [entry(name, 1000 + number // 3) for number, name in enumerate(names(900))]
    await fill(raw, entries)
    assert await walk(store, limit) == sorted(entries, reverse=True)


async def test_shards_that_are_not_equally_full(store, raw):
    """The newest thousand in one shard, as no digest would have it."""
    some = [name for name in names(20_000, 1) if shard(name) == KEYS[5]][:200]
    entries = [entry(name, 9000 + number) for number, name in enumerate(some)]
    entries += [entry(name, 1000 + number) for number, name in enumerate(names(300))]
    await fill(raw, entries)
    for limit in (3, 50, 400):
        assert await walk(store, limit) == sorted(entries, reverse=True)


async def test_a_page_reads_little_more_than_itself(store, raw):
    """However many are listed: the shards' shares and a few beyond, not a page of each shard."""
    await fill(raw, [entry(name, number) for number, name in enumerate(names(3000))])
    before = (await raw.info("stats"))["total_net_output_bytes"]
    assert len(await store._listing.entries(None, 500)) == 500
    read = (await raw.info("stats"))["total_net_output_bytes"] - before
    assert read < 3 * 500 * 60


async def test_what_an_earlier_version_listed_is_listed(store, raw):
    """Before it is moved, while it is moved, and after; deletions and new pictures meanwhile."""
    for number in range(6):
        await store.put(record(number, created=1000.0 + number), STREAM, ())
    for key in KEYS:
        await raw.delete(key)
    for number in range(6):
        await raw.zadd(OLD, {record(number, created=1000.0 + number).index_entry: 0})
    assert [kept.id[0] for kept in (await store.catalogue.page(None, 9))[0]] == list("fedcba")
    await store.put(record(6, created=1006.0), STREAM, ())
    await store.delete(record(3).id)
    first, cursor = await store.catalogue.page(None, 3)
    assert [kept.id[0] for kept in first] == list("gfe")
    twice = record(5, created=1005.0)
    await raw.zadd(shard(twice.id), {twice.index_entry: 0})  # as if moving had been broken off
    assert await store.catalogue.move() == 6  # the deleted one too: it goes when it is read
    assert [kept.id[0] for kept in (await store.catalogue.page(cursor, 9))[0]] == list("cba")
    assert [kept.id[0] for kept in (await store.catalogue.page(None, 9))[0]] == list("gfecba")
    assert not await raw.exists(OLD)
    assert len(await listed(raw)) == 6
    assert await store.catalogue.move() == 0


async def test_checks_move_it_too(store, raw, capsys):
    await store.put(record(0), STREAM, ())
    await raw.delete(*KEYS)
    await raw.zadd(OLD, {record(0).index_entry: 0, "nonsense": 0})
    assert await fsck.check(store, delete=False) == 0
    assert "0 were missing from the listing" in capsys.readouterr().out
    assert await listed(raw) == [record(0).index_entry.encode()]


async def test_a_key_of_another_type_is_told(store, raw):
    await raw.set(KEYS[3], "a string")
    with pytest.raises(StoreUnavailable, match="is no listing"):
        await store.catalogue.page(None, 9)


async def test_what_others_have_put_there_is_removed(store, raw):
    await store.put(record(0), STREAM, ())
    for key in (KEYS[0], OLD):
        await raw.zadd(key, {b"\xff\xfe": 0, b"99999999999999:\xff": 0, b"zzz": 0})
    assert [kept.id for kept in (await store.catalogue.page(None, 9))[0]] == [record(0).id]
    assert await listed(raw) == [record(0).index_entry.encode()]


async def test_deleting_needs_no_listing(store, raw):
    """A picture that is gone is gone; its entry goes when it is read."""
    kept = await store.put(record(0), STREAM, ())
    await raw.delete(shard(kept.id))
    await raw.set(shard(kept.id), "a string")
    await store.delete(kept.id)
    assert not await raw.exists(f"{{{kept.id}}}:stream")
