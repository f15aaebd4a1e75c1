"""From a stream of old weights to one of the current ones, on a real store; coding does what a test says."""

import asyncio
from dataclasses import replace
from hashlib import sha256

import pytest

from model.stream.container import read_header
from service.errors import BadPicture, NotFound, StoreUnavailable, WeightsMissing
from service.messages.jobs import Recode, Recoded
from service.recoding.pictures import Outcome, Recoding
from service.settings import Settings
from service.storage import leases
from service.storage.originals import originals_of
from service.storage.records import Facts, Record, Refinement
from tests.service.refining.test_pictures import coded

OLD, NEW = coded(b"b" * 400, model=b"old old!"), coded(b"c" * 300, model=b"new new!")
UPLOAD = b"the upload's own bytes"
DIGEST = sha256(UPLOAD).hexdigest()
FACTS = Facts(
    1000.5, source_bytes=len(UPLOAD), source_format="PNG", quality=75, refined=Refinement("fast", 9999)
)
NAME = "a" * 32


class Coder:
    """Codes everything as NEW, or fails as the test says; remembers what it was asked."""

    def __init__(self) -> None:
        self.jobs: list[Recode] = []
        self.failure: Exception | None = None
        self.stream = NEW
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self, job: Recode) -> Recoded:
        self.jobs.append(job)
        await self.open.wait()
        if self.failure:
            raise self.failure
        return Recoded(self.stream, 1.5)


@pytest.fixture
def coder():
    return Coder()


@pytest.fixture
def originals(tmp_path, store):
    return originals_of(Settings(originals=f"file://{tmp_path}/originals"), store)


@pytest.fixture
def recoding(store, originals, coder):
    return Recoding(store, originals, b"new new!", coder)


async def put(store, originals=None, stream=OLD, **facts):
    if originals is not None:
        await originals.keep(NAME, DIGEST, UPLOAD)
        facts["original"] = DIGEST
    return await store.put(Record(NAME, read_header(stream), replace(FACTS, **facts)), stream, ())


async def test_from_the_original(store, raw, originals, recoding, coder):
    before = await put(store, originals, profile="AAAA", expires=2e9)
    assert await recoding.one(NAME) == Outcome(NAME, "recoded", before.bytes, len(NEW), 1.5)
    (job,) = coder.jobs
    assert (job.data, read_header(job.stream), job.keep_gamut) == (UPLOAD, before.header, True)
    assert len(job.stream) == before.header.length  # nobody needs the rest
    after = await store.record(NAME, fresh=True)
    assert after.header == read_header(NEW)
    assert after.facts == replace(before.facts, refined=None)
    assert await raw.pttl(f"{{{NAME}}}:stream") > 0
    assert (await recoding.one(NAME)).ending == "current"
    assert len(coder.jobs) == 1


async def test_without_an_original_it_is_left_or_coded_from_its_layers(store, recoding, coder, originals):
    await put(store)
    assert await recoding.one(NAME) == Outcome(NAME, "without")
    assert not coder.jobs
    from_layers = Recoding(store, originals, b"new new!", coder, from_layers=True)
    assert (await from_layers.one(NAME)).ending == "recoded"
    assert (coder.jobs[0].data, coder.jobs[0].stream) == (b"", OLD)
    assert (await store.record(NAME, fresh=True)).header == read_header(NEW)


@pytest.mark.parametrize("from_layers", [False, True])
async def test_an_original_that_is_lost(store, originals, coder, tmp_path, from_layers):
    await put(store, originals)
    (tmp_path / "originals/originals" / DIGEST).unlink()
    recoding = Recoding(store, originals, b"new new!", coder, from_layers)
    assert (await recoding.one(NAME)).ending == ("recoded" if from_layers else "failed")


@pytest.mark.parametrize("from_layers", [False, True])
async def test_a_damaged_original_is_used_by_nobody(store, originals, coder, tmp_path, from_layers):
    await put(store, originals)
    (tmp_path / "originals/originals" / DIGEST).write_bytes(b"wrong")
    recoding = Recoding(store, originals, b"new new!", coder, from_layers)
    assert (await recoding.one(NAME)).ending == "failed"
    assert not coder.jobs


@pytest.mark.parametrize("failure", [WeightsMissing("gone"), BadPicture("no picture")])
async def test_what_fails_stays(store, originals, recoding, coder, failure, caplog):
    await put(store, originals)
    coder.failure = failure
    assert (await recoding.one(NAME)).ending == "failed"
    assert str(failure) in caplog.text
    assert await store.prefix(await store.record(NAME, fresh=True), 1) == OLD
    coder.failure = None
    assert (await recoding.one(NAME)).ending == "recoded"  # the lease was given back


@pytest.mark.parametrize(
    "stream",
    [NEW[:-1], NEW[:100], OLD, coded(b"c" * 300, width=100, model=b"new new!"), NEW[:-1] + b"!"],
    ids=["cut", "short", "old weights", "other layers", "wrong"],
)
async def test_no_bad_stream_is_written(store, originals, recoding, coder, stream):
    await put(store, originals)
    coder.stream = stream
    assert (await recoding.one(NAME)).ending == "failed"
    assert await store.prefix(await store.record(NAME, fresh=True), 1) == OLD


async def test_two_never_work_on_one_picture(store, originals, recoding, coder):
    await put(store, originals)
    coder.open.clear()
    first = asyncio.create_task(recoding.one(NAME))
    while not coder.jobs:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert await recoding.one(NAME) == Outcome(NAME, "taken")
    coder.open.set()
    assert (await first).ending == "recoded"
    assert len(coder.jobs) == 1


async def test_who_lost_the_lease_writes_nothing(store, raw, originals, recoding, coder, monkeypatch):
    """However slowly it notices."""
    await put(store, originals)
    coder.open.clear()
    working = asyncio.create_task(recoding.one(NAME))
    while not coder.jobs:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    await raw.set(f"{{{NAME}}}:lease", "another's")
    coder.open.set()
    assert (await working).ending == "gone"
    assert await store.prefix(await store.record(NAME, fresh=True), 1) == OLD
    assert await raw.get(f"{{{NAME}}}:lease") == b"another's"


async def test_the_lease_is_renewed_and_its_loss_noticed(store, raw, originals, recoding, coder, monkeypatch):
    monkeypatch.setattr(leases, "LEASE_SECONDS", 0.6)
    await put(store, originals)
    coder.open.clear()
    working = asyncio.create_task(recoding.one(NAME))
    await asyncio.sleep(0.3)
    assert not working.done()
    await raw.set(f"{{{NAME}}}:lease", "another's")
    assert (await working).ending == "taken"


async def test_what_is_deleted_or_replaced_meanwhile_stays_so(store, originals, recoding, coder):
    for change in ("deleted", "replaced"):
        await put(store, originals)
        coder.open.clear()
        coder.jobs.clear()
        working = asyncio.create_task(recoding.one(NAME))
        while not coder.jobs:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        if change == "deleted":
            await store.delete(NAME)
        else:
            await put(store, stream=coded(b"d" * 200, model=b"another!"))
        coder.open.set()
        assert (await working).ending == "gone"
        if change == "deleted":
            with pytest.raises(NotFound):
                await store.record(NAME, fresh=True)
        else:
            assert (await store.record(NAME, fresh=True)).header.model_id == b"another!"


async def test_a_store_that_is_away_ends_the_work_and_changes_nothing(store, originals, recoding, coder):
    await put(store, originals)
    coder.failure = StoreUnavailable("away")
    with pytest.raises(StoreUnavailable):
        await recoding.one(NAME)
    coder.failure = None
    assert (await recoding.one(NAME)).ending == "recoded"


async def test_graphics_and_what_is_new_concern_nobody(store, recoding):
    assert recoding.concerns(await put(store))
    assert not recoding.concerns(await put(store, stream=NEW))
