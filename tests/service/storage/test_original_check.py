"""What a check of the store finds of originals, and tells."""

import asyncio

import pytest

from service.storage import fsck
from service.storage.original_check import OriginalCheck
from tests.service.storage.test_originals import DATA, DIGEST, KEY, deleted, stored


@pytest.mark.parametrize("how", ["missing", "damaged"])
async def test_fsck_finds_what_is_wrong(store, originals, buckets, address, capsys, caplog, how):
    picture = await stored(store, originals, 0)
    assert await fsck.check(store, delete=True, kept=originals) == 0
    assert "1 originals, 0 missing or damaged, 0 deleted" in capsys.readouterr().out
    buckets.change(address, KEY, None if how == "missing" else DATA[:-1] + b"!")
    assert await fsck.check(store, delete=True, kept=originals) == fsck.EXIT_DAMAGED
    assert f"{picture}: its original is {how}" in capsys.readouterr().out
    assert await store.record(picture)  # the picture itself is whole


async def test_the_background_check_looks_for_originals(store, originals, buckets, address, caplog):
    caplog.set_level("INFO", "compass")
    await stored(store, originals, 0)
    buckets.change(address, KEY, None)
    found = []
    checking = asyncio.create_task(fsck.watch(store, 1, lambda: found.append(True), originals))
    while "checked 1 pictures" not in caplog.text:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    checking.cancel()
    assert "its original has 0 bytes" in caplog.text
    assert found == [True]


async def test_pictures_are_checked_though_the_bucket_is_away(store, originals, buckets, capsys):
    await stored(store, originals, 0)
    with buckets.being("away"):
        assert await fsck.check(store, delete=False, kept=originals) == 0
    out = capsys.readouterr().out
    assert "1 pictures, 0 damaged" in out
    assert "the originals could not all be checked" in out
    assert await fsck.check(store, delete=False) == 0
    assert "1 pictures have originals, but COMPASS_ORIGINALS is not set" in capsys.readouterr().out


async def test_a_picture_deleted_while_it_is_checked_is_no_alarm(store, originals):
    picture = await stored(store, originals, 0)
    record, check = await store.record(picture), OriginalCheck(originals, thorough=True)
    assert await deleted(store, originals, picture)
    assert await check.look(record) is None
    assert check.lost == 0
    assert await originals.held(picture, DIGEST) is None  # and it is not put down again
