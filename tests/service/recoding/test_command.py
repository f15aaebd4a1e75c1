"""``compass recode`` as a user runs it, on a store of its own; the coding does what the test says."""

import asyncio
import time
from dataclasses import replace
from hashlib import sha256
from typing import ClassVar

import pytest

from model.installed import model_id, path_of_profile
from model.stream.container import read_header
from service.cli import main
from service.errors import BadPicture
from service.messages.jobs import Recode, Recoded
from service.recoding import command
from service.settings import Settings
from service.storage.originals import originals_of
from service.storage.records import Record
from tests.service.recoding.test_pictures import FACTS, OLD
from tests.service.refining.test_pictures import coded

CURRENT = model_id(path_of_profile("lite"))
NEW = coded(b"c" * 300, model=CURRENT)
NAMES = [letter * 32 for letter in "abcdefgh"]


class FakeRefiner:
    """A process that codes everything as NEW, or fails for the uploads that it is told to fail for."""

    fails: frozenset[bytes] = frozenset()
    jobs: ClassVar[list[Recode]] = []

    at_once = 1

    def __init__(self, *_: object, **__: object) -> None:
        pass

    async def recode(self, job: Recode) -> Recoded:
        type(self).jobs.append(job)
        if job.data in self.fails:
            raise BadPicture("no picture")
        return Recoded(NEW, 2.0)

    async def stop(self) -> None:
        pass


@pytest.fixture(autouse=True)
def refiner(monkeypatch, tmp_path):
    monkeypatch.setattr(command, "Refiner", FakeRefiner)
    monkeypatch.setattr(command, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(FakeRefiner, "fails", frozenset())
    monkeypatch.setattr(FakeRefiner, "jobs", [])
    monkeypatch.setenv("COMPASS_DATA", str(tmp_path))
    monkeypatch.setenv("COMPASS_ORIGINALS", f"file://{tmp_path}/originals")
    return FakeRefiner


async def run(*arguments: str) -> int:
    return await asyncio.to_thread(main, ["recode", *arguments])


async def put(store, *numbers, kept=True, stream=OLD):
    originals = originals_of(Settings(), store)
    for number in numbers:
        data = f"upload {number}".encode()
        digest = sha256(data).hexdigest() if kept else ""
        if kept:
            await originals.keep(NAMES[number], digest, data)
        await store.put(
            Record(NAMES[number], read_header(stream), replace(FACTS, original=digest)), stream, ()
        )


async def current(store):
    return {record.id async for record in store.catalogue.all_records() if record.header.model_id == CURRENT}


async def test_all_of_older_models(store, capsys, refiner):
    await put(store, 0, 1, 2)
    await put(store, 3, stream=NEW)
    await put(store, 4, kept=False)
    assert await run() == 0
    out = capsys.readouterr().out
    assert "3 pictures coded anew" in out
    assert "saved in 6 CPU seconds" in out
    assert "1 have no original and stay as they are (--from-layers" in out
    assert await current(store) == set(NAMES[:4])
    assert await run() == 0
    assert len(refiner.jobs) == 3
    assert await run("--from-layers") == 0
    assert await current(store) == set(NAMES[:5])
    assert await run("--from-layers") == 0
    assert "0 pictures coded anew" in capsys.readouterr().out.splitlines()[-1]


async def test_some_and_not_faster_than_wanted(store, refiner):
    await put(store, 0, 1, 2, 3)
    start = time.monotonic()
    assert await run(*NAMES[:3], "--per-minute", "120") == 0
    assert time.monotonic() - start > 1
    assert await current(store) == set(NAMES[:3])
    assert await run("no id") == 1


async def test_what_fails_is_told(store, capsys, refiner):
    await put(store, 0, 1)
    refiner.fails = frozenset([b"upload 0"])
    assert await run() == 1
    assert "1 failed and stay as they are" in capsys.readouterr().out
    assert await current(store) == {NAMES[1]}


async def test_what_others_have_is_waited_for(store, capsys, refiner):
    await put(store, 0, 1)
    lease = await store.leases.take(NAMES[0])
    running = asyncio.create_task(run())
    while await current(store) != {NAMES[1]}:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    assert not running.done()
    await store.leases.give_back(lease)  # as it is when whoever had it has died
    assert await running == 0
    assert await current(store) == set(NAMES[:2])
