"""``compass refine`` as a user runs it, on a store of its own; the search does what the test says."""

import asyncio
from pathlib import Path
from typing import ClassVar

import pytest
import redis.asyncio as redis

from model.stream.container import read_header
from service.cli import main
from service.errors import WorkerFailed
from service.library import Keeping
from service.messages.jobs import Refine, Refined
from service.planning.identity import picture_id, upload_digest
from service.refining import command
from service.refining.command import Tally
from service.refining.pictures import Outcome
from service.settings import Settings
from service.storage.records import Record
from service.storage.store import Store
from tests.service.refining.test_pictures import FACTS, SMALLER, STREAM

UPLOADS = [f"upload {number}".encode() for number in range(3)]
NAMES = [picture_id(upload_digest(data), 80, Settings().ladder_of(None), None) for data in UPLOADS]


class FakeRefiner:
    """A search that finds SMALLER, or fails for the uploads that it is told to fail for."""

    fails: frozenset[bytes] = frozenset()
    efforts: ClassVar[list[str]] = []

    at_once = 1

    def __init__(self, *_: object, **__: object) -> None:
        pass

    async def refine(self, job: Refine, told: object) -> Refined:
        type(self).efforts.append(job.effort)
        if job.data in self.fails:
            raise WorkerFailed("it crashed")
        return Refined(SMALLER, 2.0)

    async def stop(self) -> None:
        pass


@pytest.fixture(autouse=True)
def refiner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> type[FakeRefiner]:
    monkeypatch.setattr(command, "Refiner", FakeRefiner)
    monkeypatch.setattr(FakeRefiner, "fails", frozenset())
    monkeypatch.setattr(FakeRefiner, "efforts", [])
    monkeypatch.setenv("COMPASS_DATA", str(tmp_path))
    return FakeRefiner


async def run(*arguments: str) -> int:
    return await asyncio.to_thread(main, ["refine", *arguments])


async def put(store: Store, *numbers: int, kept: bool = True) -> None:
    for number in numbers:
        record = Record(NAMES[number], read_header(STREAM), FACTS)
        await store.put(record, STREAM, (), UPLOADS[number] if kept else None)


async def test_all_that_waits(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    await put(store, 0, 1, 2)
    assert await run() == 0
    assert "3 pictures refined: " in capsys.readouterr().out
    for name in NAMES:
        refined = (await store.record(name, fresh=True)).facts.refined
        assert refined is not None
        assert refined.effort == "best"
    assert await run() == 0
    assert "0 pictures refined" in capsys.readouterr().out


async def test_some(store: Store, capsys: pytest.CaptureFixture[str], refiner: type[FakeRefiner]) -> None:
    await put(store, 0, 1)
    assert await run(NAMES[1], NAMES[2], "--effort", "fast") == 0
    told = capsys.readouterr().out
    assert "1 pictures refined" in told
    assert "1 are not stored, or their uploads are not kept" in told
    assert refiner.efforts == ["fast"]
    assert await store.waiting.pictures() == [NAMES[0]]
    assert await run(NAMES[1]) == 0
    assert "1 were refined before" in capsys.readouterr().out


async def test_from_a_folder(
    store: Store, capsys: pytest.CaptureFixture[str], refiner: type[FakeRefiner], tmp_path: Path
) -> None:
    """Pictures whose uploads are kept no more; it goes on where it stopped, and further with more effort."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, data in enumerate(UPLOADS):
        (folder / f"{number}.jpg").write_bytes(data)
    await put(store, 0, 1, kept=False)
    assert await run("--from", str(folder), "--effort", "fast") == 0
    told = capsys.readouterr().out
    assert "2 pictures refined" in told
    assert "1 are not stored" in told
    assert await store.waiting.counts() == (0, 0)
    assert await run("--from", str(folder), "--effort", "fast") == 0
    told = capsys.readouterr().out
    assert "0 pictures refined" in told
    assert "2 were refined before" in told
    assert await run("--from", str(folder), "--effort", "best", "--quality", "30") == 0
    assert "3 are not stored" in capsys.readouterr().out
    assert refiner.efforts == ["fast", "fast"]


@pytest.mark.parametrize(
    ("keeping", "arguments"),
    [
        (Keeping(focus=(0.3, 0.6)), ["--focus", "0.30,.6"]),
        (Keeping(focus="auto"), ["--focus", "auto"]),
        (Keeping(credits=True), ["--metadata", "copyright"]),
        (Keeping(first_frame=True), ["--frame", "0"]),
        (
            Keeping(focus=(0.0, 1.0), credits=True, first_frame=True, name="for people"),
            ["--focus", "0,1", "--metadata", "copyright", "--frame", "0"],
        ),
    ],
)
async def test_from_a_folder_that_was_uploaded_with_wishes(
    store: Store, capsys: pytest.CaptureFixture[str], tmp_path: Path, keeping: Keeping, arguments: list[str]
) -> None:
    """They are part of a picture's id: who names them finds it, and nobody takes another for it."""
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "0.jpg").write_bytes(UPLOADS[0])
    wished = picture_id(upload_digest(UPLOADS[0]), 80, Settings().ladder_of(None), None, keeping.identity)
    await store.put(Record(wished, read_header(STREAM), FACTS), STREAM, (), None)
    assert await run("--from", str(folder)) == 0
    assert "1 are not stored" in capsys.readouterr().out
    assert await run("--from", str(folder), *arguments) == 0
    assert "1 pictures refined" in capsys.readouterr().out
    assert (await store.record(wished, fresh=True)).facts.refined is not None


async def test_what_fails_is_told(
    store: Store, capsys: pytest.CaptureFixture[str], refiner: type[FakeRefiner]
) -> None:
    refiner.fails = frozenset(UPLOADS[:1])
    await put(store, 0, 1)
    assert await run() == 1
    assert "1 failed and will be tried again" in capsys.readouterr().out


async def test_what_others_refine_is_left_to_them(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    await put(store, 0)
    taken, _ = await store.waiting.take()
    assert taken is not None
    assert await run(NAMES[0]) == 0
    assert "1 are gone, or others refine them" in capsys.readouterr().out
    assert await store.waiting.renew(taken)


@pytest.mark.parametrize(
    "arguments",
    [["x"], ["--quality", "3"], ["--focus", "auto"], ["--metadata", "copyright"], ["--from", "/nowhere"]],
)
async def test_wrong_arguments(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert await run(*arguments) == 1
    assert capsys.readouterr().err.startswith("compass: ")


async def test_without_a_store(capsys: pytest.CaptureFixture[str]) -> None:
    assert await run() == 1
    assert "holds no store" in capsys.readouterr().err


def test_the_tally() -> None:
    tally = Tally()
    tally.add(Outcome("a", "refined", 4_000_000, 3_700_000, 20.0))
    tally.add(Outcome("b", "kept", 1000, 1000, 10.0))
    assert str(tally) == (
        "1 pictures refined: 3.7 MB of 4.0 MB, 300.0 kB (7.5 %) saved in 30 CPU seconds; "
        "1 could not be made smaller"
    )


@pytest.mark.parametrize("from_folder", [False, True])
async def test_a_damaged_picture_stops_no_other(
    store: Store, raw: redis.Redis, capsys: pytest.CaptureFixture[str], tmp_path: Path, from_folder: bool
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, data in enumerate(UPLOADS):
        (folder / f"{number}.jpg").write_bytes(data)
    await put(store, 0, 1, 2)
    await raw.setrange(f"{{{NAMES[0]}}}:facts", 5, b"!!!")
    assert await run(*(["--from", str(folder)] if from_folder else NAMES)) == 1
    told = capsys.readouterr()
    assert "2 pictures refined" in told.out
    assert "1 failed" in told.out
    assert f"{NAMES[0]}: the stored facts" in told.err
