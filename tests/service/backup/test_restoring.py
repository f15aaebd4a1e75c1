"""A backup back into a store: empty, half full, damaged; and what is wrong in the backup itself."""

import asyncio
import time
from dataclasses import replace
from hashlib import sha256

import pytest

from service.backup.archive import NoBackup, entry_of, original_key, runs
from service.backup.restoring import Restored, Restoring
from service.backup.saving import Saving
from service.errors import ObjectsUnavailable


@pytest.fixture
async def saved(place, target):
    """Five pictures, and their backup."""
    for number in range(5):
        await place.put(number, kept=number != 4, expires=2e9 if number == 1 else None)
    await Saving(place.store, place.originals, target).run()
    return place


async def restore(source, place, **how):
    return await Restoring(source, place.store, place.originals).run(**how)


async def test_into_an_empty_store(saved, target, make):
    other = await make("second")
    assert await restore(target, other) == Restored(5, restored=5)
    assert await other.all() == await saved.all()
    assert [one.id for one in (await other.store.catalogue.page(None, 9))[0]] == [
        one.id for one in (await saved.store.catalogue.page(None, 9))[0]
    ]
    assert await restore(target, other) == Restored(5, there=5)


async def test_into_a_half_full_store(saved, target, make):
    """What is there stays as it is; what is damaged is brought back."""
    other = await make("second")
    theirs = await other.put(0, average="#999999")
    damaged = await other.put(1)
    await other.raw.setrange(f"{{{damaged.id}}}:stream", 5000, b"!")
    await other.put(7)
    assert await restore(target, other) == Restored(5, restored=4, there=1)
    assert len(await other.all()) == 6
    assert await other.store.record(theirs.id, fresh=True) == theirs
    assert await other.store.verify(damaged.id)


@pytest.mark.parametrize("lost", ["missing", "damaged", "not noted"])
async def test_originals_come_back_to_pictures_that_are_there(saved, target, tmp_path, lost):
    """Where their bucket was lost, or some were damaged, or the pictures came without theirs."""
    before = await saved.all()
    kept = {data for _, data in before.values() if data is not None}
    for file in (tmp_path / "first" / "originals" / "originals").iterdir():
        if lost == "damaged":
            file.write_bytes(file.read_bytes()[:-1] + b"!")
        else:
            file.unlink()
    if lost == "not noted":
        for picture in before:
            record = await saved.store.record(picture)
            await saved.store.amend(record, lambda facts: replace(facts, original=""))
    assert await restore(target, saved) == Restored(5, there=5, originals=2)
    assert await saved.all() == before
    assert len(kept) == 2
    for data in kept:
        assert await saved.originals.read(sha256(data).hexdigest()) == data
    assert await restore(target, saved) == Restored(5, there=5)


async def test_an_original_that_is_lost_everywhere_is_told(saved, target, tmp_path):
    digest = sha256(b"upload 1").hexdigest()
    (tmp_path / "first" / "originals" / "originals" / digest).unlink()
    await target.delete(original_key(digest))
    found = await restore(target, saved)
    assert (found.there, found.originals, found.done) == (5, 0, 5)
    assert len(found.complaints) == 2
    assert all("its original is missing in the backup" in complaint for complaint in found.complaints)


async def test_as_it_was_at_a_time(saved, target, make):
    await asyncio.sleep(0.01)
    async for one in saved.store.catalogue.all_records():
        await saved.store.delete(one.id)
    await Saving(saved.store, saved.originals, target).run()
    first, _ = await runs(target)
    other = await make("second")
    assert await restore(target, other) == Restored(0)
    with pytest.raises(NoBackup):
        await restore(target, other, at="1999")
    assert (await restore(target, other, at=first)).restored == 5


async def test_what_expired_since_stays_gone(place, target, make):
    await place.put(0, expires=time.time() + 1)
    await Saving(place.store, place.originals, target).run()
    await asyncio.sleep(1.1)
    assert await restore(target, await make("second")) == Restored(1, expired=1)


async def test_what_is_wrong_in_the_backup_is_told_and_not_restored(saved, target, make):
    entries = [entry_of(one) async for one in saved.store.catalogue.all_records()]
    entries.sort(key=lambda entry: entry.picture)
    data = await target.get(entries[0].key)
    await target.put(entries[0].key, data[:3000] + b"!" + data[3001:])
    await target.delete(entries[1].key)
    await target.put(original_key(sha256(b"upload 1").hexdigest()), b"wrong")
    for check in (True, False):
        other = await make(f"other-{check}")
        restoring = (
            Restoring(target, None, None) if check else Restoring(target, other.store, other.originals)
        )
        found = await restoring.run()
        assert (found.restored, found.without_original, found.done) == (3, 2, 5)
        of_originals = [one for one in found.complaints if one.endswith("original is damaged in the backup")]
        assert len(of_originals) == 2
        damaged, missing = sorted(set(found.complaints) - set(of_originals))
        assert damaged.startswith(entries[0].picture)
        assert missing == f"{entries[1].picture}: missing in the backup"
    kept = await other.all()
    assert len(kept) == 3
    assert all(original is None for _, original in kept.values())


async def test_without_originals_pictures_come_alone(saved, target, make):
    other = await make("second")
    found = await Restoring(target, other.store, None).run()
    assert (found.restored, found.without_original, found.complaints) == (5, 4, [])
    async for one in other.store.catalogue.all_records():
        before = await saved.store.record(one.id)
        assert one == replace(before, facts=replace(before.facts, original=""))


@pytest.mark.parametrize("fault", ["cut", "error", "away", "wrong"])
async def test_no_fault_of_the_bucket_restores_wrong_bytes(saved, target, make, buckets, fault):
    if not target.address.startswith("s3"):
        pytest.skip("a folder has no such faults")
    other = await make("second")
    with buckets.being(fault), pytest.raises((ObjectsUnavailable, NoBackup)):
        await restore(target, other)
    assert (await restore(target, other)).restored == 5
    assert await other.all() == await saved.all()


async def test_it_goes_on_where_it_ended(saved, target, make, monkeypatch):
    other = await make("second")
    get, gets = target.get, 0

    async def failing(key):
        nonlocal gets
        gets += 1
        if gets == 5:
            raise ObjectsUnavailable("away")
        return await get(key)

    monkeypatch.setattr(target, "get", failing)
    with pytest.raises(ObjectsUnavailable):
        await restore(target, other)
    found = await restore(target, other)
    assert found.restored + found.there == 5
    assert await other.all() == await saved.all()
