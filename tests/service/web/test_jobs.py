"""Uploads in the background: what is told of them, and what becomes of what they hold."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from service.errors import Overloaded, StoreFull, StoreUnavailable
from service.metrics import Metrics
from service.web import jobs
from service.web.jobs import Jobs, prefers_async
from tests.service.engine.test_pool import until
from tests.service.fakes import Board


@pytest.fixture(autouse=True)
def _often(monkeypatch):
    monkeypatch.setattr(jobs, "TELL_SECONDS", 0.01)


class Upload:
    """Work that ends when it is told to; ``freed`` once what it holds is let go of."""

    def __init__(self, error=None):
        self.error = error
        self.may_end = asyncio.Event()
        self.freed = False
        self.held = AsyncExitStack()
        self.held.callback(self._free)

    def _free(self):
        self.freed = True

    async def work(self, told):
        told("coding", 1e5)
        await self.may_end.wait()
        if self.error:
            raise self.error
        told("storing", 0)
        return type("Record", (), {"id": "a" * 32})


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        (None, False),
        ("", False),
        ("respond-async", True),
        ("return=minimal, Respond-Async; a=b", True),
        ("wait=10,respond-async", True),
        ("respond-asynchronously", False),
    ],
)
def test_the_wish(header, wanted):
    assert prefers_async(header) is wanted


async def test_a_picture_is_said_to_be_stored_when_it_is_and_not_before():
    board, upload = Board(), Upload()
    background = Jobs(board, 1, Metrics())
    job = await background.begin(upload.work, upload.held)
    await until(lambda: board.told[job][-1].percent > 20)
    assert {state.state for state in board.told[job]} == {"working"}
    assert not upload.freed
    percents = [state.percent for state in board.told[job]]
    assert percents == sorted(percents)
    assert percents[0] == 0
    upload.may_end.set()
    await until(lambda: board.told[job][-1].over)
    assert board.told[job][-1].picture == "a" * 32
    assert (board.told[job][-1].stage, board.told[job][-1].percent) == ("done", 100)
    assert upload.freed


@pytest.mark.parametrize(
    ("error", "status"), [(Overloaded("the queue is full"), 429), (RuntimeError("a fault"), 500)]
)
async def test_why_it_failed_is_told(error, status):
    board, upload = Board(), Upload(error)
    background = Jobs(board, 1, Metrics())
    job = await background.begin(upload.work, upload.held)
    upload.may_end.set()
    await until(lambda: board.told[job][-1].over)
    last = board.told[job][-1]
    assert (last.state, last.picture, last.failure.status) == ("failed", None, status)
    assert "a fault" not in last.failure.detail
    assert upload.freed


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, "stored"),
        (StoreFull("the disk is full"), "507"),
        (StoreUnavailable("the store does not answer"), "503"),
        (Overloaded("the queue is full"), "429"),
        (RuntimeError("a fault"), "500"),
    ],
)
async def test_how_uploads_end_is_counted(error, status):
    board, metrics, upload = Board(), Metrics(), Upload(error)

    def counted():
        samples = [sample for family in metrics.registry.collect() for sample in family.samples]
        found = [one for one in samples if one.name == "compass_upload_jobs_total"]
        return {one.labels["status"]: one.value for one in found if one.value}

    await Jobs(board, 1, metrics).begin(upload.work, upload.held)
    assert counted() == {}
    board.down = True  # whether anybody can be told or not
    upload.may_end.set()
    await until(lambda: upload.freed and counted() != {})
    assert counted() == {status: 1}


async def test_nothing_is_begun_that_nobody_can_be_told_of():
    board, upload = Board(), Upload()
    board.down = True
    with pytest.raises(StoreUnavailable):
        await Jobs(board, 1, Metrics()).begin(upload.work, upload.held)
    await upload.held.aclose()


async def test_a_store_that_is_away_for_a_while_ends_no_upload():
    board, upload = Board(), Upload()
    background = Jobs(board, 1, Metrics())
    job = await background.begin(upload.work, upload.held)
    board.down = True
    await asyncio.sleep(0.1)
    board.down = False
    upload.may_end.set()
    await until(lambda: board.told[job][-1].over)
    assert board.told[job][-1].state == "stored"


async def test_at_the_end_of_the_service_uploads_are_waited_for_and_the_others_have_failed():
    board, quick, slow = Board(), Upload(), Upload()
    background = Jobs(board, 0.2, Metrics())
    jobs_of = [await background.begin(one.work, one.held) for one in (quick, slow)]
    quick.may_end.set()
    await background.close()
    last = [board.told[job][-1] for job in jobs_of]
    assert [state.state for state in last] == ["stored", "failed"]
    assert last[1].failure.status == 503
    assert quick.freed
    assert slow.freed
