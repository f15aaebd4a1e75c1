"""What a run reads and writes, and what it never loses."""

import time
from dataclasses import replace

import pytest

from service.backup import saving as module
from service.backup.archive import read_run, runs
from service.backup.restoring import Restoring
from service.backup.saving import Saving
from service.errors import ObjectsUnavailable
from service.metrics import Metrics
from service.settings import Settings
from service.storage.cooling import Cooling
from service.storage.store import Store


async def save(place, target, since=None):
    return await Saving(place.store, place.originals, target).run(since)


async def last(target):
    return {entry.picture: entry for entry in await read_run(target, (await runs(target))[-1])}


async def whole(target):
    return await Restoring(target, None, None).run()


async def test_only_what_is_new_or_changed_is_written(place, target):
    assert await place.store.last_backup() is None
    start = time.time()
    for number in range(3):
        await place.put(number)
    saved = await save(place, target)
    assert (saved.pictures, saved.written, saved.originals, saved.complaints) == (3, 3, 2, [])
    assert start - 0.1 < await place.store.last_backup() < time.time()
    saved = await save(place, target)
    assert (saved.pictures, saved.written, saved.originals, saved.bytes) == (3, 0, 0, 0)
    before = await last(target)
    changed = await place.store.extend(await place.put(0, expires=2e9), None)
    await place.store.amend(changed, lambda facts: replace(facts, average="#123456"))
    await place.put(3)
    await place.store.delete((await place.put(1)).id)
    saved = await save(place, target)
    assert (saved.pictures, saved.written, saved.originals) == (3, 2, 0)
    after = await last(target)
    ids = sorted({*before, *after})
    assert [name in after for name in ids] == [True, False, True, True]
    assert before[ids[0]] != after[ids[0]]
    assert (await whole(target)).complaints == []


async def test_since_a_time_only_the_listing_is_read_to_there(place, target):
    await place.put(0, created=1000.0)
    await place.put(1, created=2000.0)
    assert (await save(place, target, since=1500.0)).pictures == 1
    await place.put(2, created=3000.0)
    saved = await save(place, target, since=2500.0)
    assert (saved.pictures, saved.written) == (2, 1)
    assert (await save(place, target)).pictures == 3


async def test_a_run_that_is_broken_off_is_none_and_the_next_goes_on(place, target, monkeypatch):
    for number in range(6):
        await place.put(number)
    monkeypatch.setattr(module, "_AT_ONCE", 1)
    put, puts = target.put, 0

    async def failing(key, data):
        nonlocal puts
        puts += 1
        if puts == 4:
            raise ObjectsUnavailable("away")
        await put(key, data)

    monkeypatch.setattr(target, "put", failing)
    with pytest.raises(ObjectsUnavailable):
        await save(place, target)
    assert await runs(target) == []
    assert await place.store.last_backup() is None
    saved = await save(place, target)
    assert saved.written + saved.originals == 9 - 3
    assert (await whole(target)).restored == 6


async def test_what_is_damaged_now_stays_as_it_was_saved(place, target):
    kept = await place.put(0)
    await place.put(1)
    await save(place, target)
    before = await last(target)
    await place.store.amend(kept, lambda facts: replace(facts, average="#123456"))
    await place.raw.setrange(f"{{{kept.id}}}:stream", 5000, b"!")
    saved = await save(place, target)
    assert len(saved.complaints) == 1
    assert kept.id in saved.complaints[0]
    assert await last(target) == before
    await place.raw.setrange(f"{{{kept.id}}}:stream", 0, b"!!!!")
    assert len((await save(place, target)).complaints) == 1
    assert await last(target) == before
    assert (await whole(target)).restored == 2


async def test_originals_that_cannot_be_saved_are_told(place, target, tmp_path):
    kept = await place.put(0)
    path = tmp_path / "first/originals/originals" / kept.facts.original
    path.write_bytes(b"wrong")
    saved = await save(place, target)
    assert len(saved.complaints) == 1
    assert saved.originals == 0
    path.unlink()
    assert "missing" in (await save(place, target)).complaints[0]
    assert "in no store" in (await Saving(place.store, None, target).run()).complaints[0]


async def test_old_runs_are_forgotten_with_what_only_they_had(place, target, monkeypatch):
    await place.put(0)
    gone = await place.put(2)
    await save(place, target)
    await place.store.delete(gone.id)
    for _ in range(2):
        await save(place, target)
    saving = Saving(place.store, place.originals, target)
    assert (await saving.prune(1)).removed == 0  # it may belong to a run under way
    assert len(await runs(target)) == 1
    monkeypatch.setattr(module, "_FRESH_SECONDS", -10.0)
    assert (await saving.prune(1)).removed == 2  # a picture and its original
    found = await whole(target)
    assert (found.restored, found.without_original, found.complaints) == (1, 0, [])


async def test_a_damaged_list_does_not_stop_the_next_run(place, target):
    await place.put(0)
    await save(place, target)
    (name,) = await runs(target)
    await target.put(f"runs/{name}.jsonl.gz", b"damaged")
    saved = await save(place, target)
    assert (saved.pictures, saved.written) == (1, 0)
    assert "damaged" in saved.complaints[0]
    assert (await whole(target)).restored == 1


async def test_a_picture_is_saved_whole_wherever_its_layers_lie(place, target, tmp_path):
    """And a move changes nothing that would have to be saved."""
    settings = Settings(cold=f"file://{tmp_path}/cold", cold_width=100)
    moving = Store(f"unix://{tmp_path}/first/valkey.sock", settings, Metrics())
    for number in range(3):
        await place.put(number)
    await Saving(place.store, place.originals, target).run()
    assert (await Cooling(moving, Metrics(), 0).move()).pictures == 3
    await place.put(3)
    assert (await Cooling(moving, Metrics(), 0).move()).pictures == 1
    saved = await Saving(moving, place.originals, target).run()
    assert (saved.pictures, saved.written, saved.complaints) == (4, 1, [])
    assert (await whole(target)).restored == 4
    await moving.close()
