"""From a picture that waits to a smaller one, on a real store, with a search that does what the test says."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from model.stream.container import CodedLayer, read_header, write
from service.errors import BadPicture, ObjectsUnavailable, Stopping, StoreUnavailable, WorkerFailed
from service.messages.jobs import Refine, Refined
from service.metrics import Metrics
from service.refining import pictures as module
from service.refining.pictures import Refining
from service.settings import Settings
from service.storage import leases, waiting
from service.storage.records import Facts, Record, Refinement
from service.storage.store import Store
from service.storage.valkey import EmbeddedValkey
from service.storage.waiting import MOST_TRIES


def coded(tile: bytes, width: int = 128, quality: int = 75, model: bytes = b"model-id") -> bytes:
    layers = [
        CodedLayer(64, 48, 75, b"hyper", [b"a" * 100]),
        CodedLayer(width, 96, quality, b"hyper", [tile]),
    ]
    return write(model, 256, layers)


STREAM, SMALLER = coded(b"b" * 400), coded(b"c" * 300)
UPLOAD = b"the upload's own bytes"
FACTS = Facts(1000.5, source_bytes=len(UPLOAD), source_format="PNG", quality=75)
NAMES = ["a" * 32, "b" * 32]

Search = Callable[[Refine], Awaitable[Refined]]
Make = Callable[[Search], Refining]


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(name, labels) or 0.0


def outcomes(metrics: Metrics) -> dict[str, float]:
    found = {
        name: value(metrics, "compass_refinements_total", outcome=name)
        for name in ("refined", "kept", "failed", "retried", "gone")
    }
    return {name: count for name, count in found.items() if count}


async def finds(job: Refine) -> Refined:
    """A smaller stream."""
    return Refined(SMALLER, 1.5)


async def hangs(job: Refine) -> Refined:
    """Nothing, for ever."""
    await asyncio.sleep(3600)
    raise AssertionError


def raises(error: Exception) -> Search:
    async def search(job: Refine) -> Refined:
        raise error

    return search


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def make(store: Store, metrics: Metrics) -> Make:
    return lambda search: Refining(store, metrics, "fast", search)


@pytest.fixture
async def kept(store: Store) -> Record:
    """A picture that waits."""
    return await store.put(Record(NAMES[0], read_header(STREAM), FACTS), STREAM, (), UPLOAD)


async def test_a_smaller_stream_is_stored_and_counted(
    make: Make, store: Store, kept: Record, metrics: Metrics
) -> None:
    jobs = []

    async def search(job: Refine) -> Refined:
        jobs.append(job)
        return Refined(SMALLER, 1.5)

    refining = make(search)
    outcome = await refining.next()
    assert outcome is not None
    assert (outcome.ending, outcome.before - outcome.after, outcome.seconds) == ("refined", 100, 1.5)
    assert [(job.data, job.stream, job.effort) for job in jobs] == [(UPLOAD, STREAM, "fast")]
    new = await store.verify(kept.id)
    assert await store.prefix(new, 1) == SMALLER
    assert new.facts.refined == Refinement("fast", kept.bytes)
    assert await refining.next() is None
    assert outcomes(metrics) == {"refined": 1}
    assert value(metrics, "compass_refinement_saved_bytes_total") == 100
    assert value(metrics, "compass_refinement_seconds_total") == 1.5


async def test_where_none_is_found_that_is_noted(
    make: Make, store: Store, kept: Record, metrics: Metrics
) -> None:
    async def nothing(job: Refine) -> Refined:
        return Refined(b"", 1.5)

    outcome = await make(nothing).next()
    assert outcome is not None
    assert (outcome.ending, outcome.before, outcome.after) == ("kept", kept.bytes, kept.bytes)
    assert await store.verify(kept.id) == replace(
        kept, facts=replace(FACTS, refined=Refinement("fast", kept.bytes))
    )
    assert await store.waiting.counts() == (0, 0)
    assert outcomes(metrics) == {"kept": 1}


@pytest.mark.parametrize(
    "found",
    [
        SMALLER[:-1], SMALLER[:-1] + b"!", b"nonsense", coded(b"d" * 500), coded(b"d" * 400),
        coded(b"d" * 300, width=127), coded(b"d" * 300, quality=74), coded(b"d" * 300, model=b"model-ID"),
    ],
)  # fmt: skip
async def test_what_is_no_smaller_stream_of_the_same_layers_is_not_stored(
    make: Make, store: Store, kept: Record, metrics: Metrics, found: bytes
) -> None:
    async def search(job: Refine) -> Refined:
        return Refined(found, 1.0)

    outcome = await make(search).next()
    assert outcome is not None
    assert outcome.ending == "failed"
    assert await store.verify(kept.id) == kept
    assert await store.prefix(kept, 1) == STREAM
    assert await store.waiting.counts() == (0, 0)


@pytest.mark.parametrize("error", [WorkerFailed("it crashed"), ValueError("a fault of ours")])
async def test_what_crashes_is_tried_again_so_often_and_then_left(
    make: Make,
    store: Store,
    kept: Record,
    metrics: Metrics,
    raw: Redis,
    error: Exception,
) -> None:
    refining = make(raises(error))
    endings = []
    for _ in range(MOST_TRIES):
        outcome = await refining.next()
        assert outcome is not None
        endings.append(outcome.ending)
        assert await refining.next() is None  # not at once
        await raw.zadd(waiting.QUEUE, {kept.id: 0}, xx=True)  # RETRY_SECONDS later
    assert endings == ["retried"] * (MOST_TRIES - 1) + ["failed"]
    assert await store.verify(kept.id) == kept
    assert await store.waiting.counts() == (0, 0)
    assert outcomes(metrics) == {"retried": MOST_TRIES - 1, "failed": 1}


async def test_one_whose_service_dies_with_it_every_time_is_given_up(
    make: Make, store: Store, kept: Record, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "LEASE_SECONDS", 0.05)
    for _ in range(MOST_TRIES):
        taken, _ = await store.waiting.take()  # and no more is heard of who took it
        assert taken is not None
        await asyncio.sleep(0.1)
    assert await make(finds).next() is None
    assert outcomes(metrics) == {"failed": 1}
    assert await store.verify(kept.id) == kept


async def test_what_the_upload_is_to_blame_for_is_not_tried_again(
    make: Make, store: Store, kept: Record, metrics: Metrics
) -> None:
    outcome = await make(raises(BadPicture("no longer read here"))).next()
    assert outcome is not None
    assert outcome.ending == "failed"
    assert await store.waiting.counts() == (0, 0)


async def test_a_search_for_a_picture_that_is_deleted_ends(
    make: Make, store: Store, kept: Record, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "LEASE_SECONDS", 0.3)
    refining = asyncio.create_task(make(hangs).next())
    await asyncio.sleep(0.2)
    await store.delete(kept.id)
    async with asyncio.timeout(5):
        outcome = await refining
    assert outcome is not None
    assert outcome.ending == "gone"
    assert await store.catalogue.page(None, 9) == ([], None)


async def test_one_that_is_deleted_while_it_is_searched_stays_deleted(
    make: Make, store: Store, kept: Record, metrics: Metrics
) -> None:
    async def search(job: Refine) -> Refined:
        await store.delete(kept.id)
        return Refined(SMALLER, 1.5)

    outcome = await make(search).next()
    assert outcome is not None
    assert outcome.ending == "gone"
    assert await store.catalogue.page(None, 9) == ([], None)
    assert outcomes(metrics) == {"gone": 1}


async def test_a_lease_is_renewed_as_long_as_the_search_goes_on(
    make: Make, store: Store, kept: Record, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "LEASE_SECONDS", 0.6)
    monkeypatch.setattr(leases, "LEASE_SECONDS", 0.6)

    async def slow(job: Refine) -> Refined:
        for _ in range(15):
            await asyncio.sleep(0.1)
            assert await store.waiting.take() == (None, 0)
        return Refined(SMALLER, 1.5)

    outcome = await make(slow).next()
    assert outcome is not None
    assert outcome.ending == "refined"


async def test_an_end_of_the_service_is_no_try(make: Make, store: Store, kept: Record) -> None:
    begun = asyncio.Event()

    async def search(job: Refine) -> Refined:
        begun.set()
        return await hangs(job)

    for _ in range(MOST_TRIES + 1):
        begun.clear()
        refining = asyncio.create_task(make(search).next())
        await begun.wait()
        refining.cancel()
        with pytest.raises(asyncio.CancelledError):
            await refining
        with pytest.raises(Stopping):
            await make(raises(Stopping("the service is stopping"))).next()
    outcome = await make(finds).next()
    assert outcome is not None
    assert outcome.ending == "refined"


async def test_a_store_that_is_lost_costs_no_try(make: Make, store: Store, kept: Record) -> None:
    for _ in range(MOST_TRIES + 1):
        with pytest.raises(StoreUnavailable):
            await make(raises(StoreUnavailable("gone"))).next()
    assert (await store.waiting.take())[0]


async def test_two_services_refine_all_and_none_of_them_twice_at_once(
    valkey: EmbeddedValkey, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    names = [f"{letter}{digit}" * 16 for letter in "abcdefgh" for digit in "23456"]
    at_work: set[str] = set()
    done: list[str] = []

    async def search(job: Refine) -> Refined:
        picture = job.key.split()[0]
        assert picture not in at_work
        at_work.add(picture)
        await asyncio.sleep(0.01)
        at_work.remove(picture)
        done.append(picture)
        return Refined(SMALLER, 0.0)

    stores = [Store(valkey.url, Settings(), Metrics()) for _ in range(3)]
    tasks = [asyncio.create_task(Refining(one, Metrics(), "fast", search).for_ever()) for one in stores]
    for name in names:
        await store.put(Record(name, read_header(STREAM), FACTS), STREAM, (), UPLOAD)
    async with asyncio.timeout(20):
        while len(done) < len(names) or await store.waiting.counts() != (0, 0):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    for task in tasks:
        assert not task.done()
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for one in stores:
        await one.close()
    assert sorted(done) == sorted(names)
    for name in names:
        assert await store.prefix(await store.verify(name), 1) == SMALLER


async def test_whatever_fails_it_goes_on(
    make: Make, store: Store, kept: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    errors = [StoreUnavailable("gone"), WorkerFailed("crashed"), KeyError("a fault of ours")]

    async def search(job: Refine) -> Refined:
        if errors:
            raise errors.pop()
        return Refined(SMALLER, 1.5)

    going_on = asyncio.create_task(make(search).for_ever())
    async with asyncio.timeout(10):
        while (await store.record(kept.id, fresh=True)).facts.refined is None:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert not going_on.done()
    going_on.cancel()
    await asyncio.gather(going_on, return_exceptions=True)


async def test_an_object_store_that_is_away_costs_no_upload(make: Make, store: Store, kept: Record) -> None:
    """The large layers may lie there: it is tried again later."""
    with pytest.raises(ObjectsUnavailable):
        await make(raises(ObjectsUnavailable("away"))).next()
    assert await store.waiting.waits(kept.id)
    assert await store.waiting.counts() == (1, len(UPLOAD))
