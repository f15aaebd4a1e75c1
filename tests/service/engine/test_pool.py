"""The pool with real worker processes whose tasks misbehave on demand."""

import asyncio
import json
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from model.stream.ladder import Ladder
from service.engine.devices import LARGE_BLOCK
from service.engine.pool import Pool
from service.errors import (
    BadPicture,
    DeadlineExceeded,
    Overloaded,
    Quarantined,
    ServiceError,
    Stopping,
    WorkerFailed,
)
from service.messages.jobs import Render, Rendered, Upload, Uploaded
from service.settings import MIB, Settings
from tests.service.fakes import FakeDispatcher
from tests.service.jobs import rendering

FAULTS = "tests.service.fault_tasks:FaultTasks"
BATCHES = "tests.service.fault_tasks:BatchTasks"
COST = 100_000.0

RENDERED = Rendered(b"body", "image/png", 4, 3, 1)
UPLOADED = Uploaded(b"stream", 4, 3, "jpeg")

MakePool = Callable[..., Awaitable[Pool]]
WithoutWorkers = Callable[..., tuple[Pool, FakeDispatcher]]


def render(key: str = "key", layer: int = 0, **order: Any) -> Render:
    return rendering(key, json.dumps(order).encode(), layer, (4, 3), "png", 80)


def upload(**order: Any) -> Upload:
    data = json.dumps(order).encode()
    return Upload(str(hash(data)), data, 75, Ladder((320,)))


async def answer(pool: Pool, job: Render, cost: float = COST) -> dict[str, Any]:
    body: dict[str, Any] = json.loads((await pool.render(job, cost)).body)
    return body


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what is watched are other processes
            await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
async def make_pool() -> AsyncIterator[MakePool]:
    pools: list[Pool] = []

    async def make(tasks: str = FAULTS, **settings: Any) -> Pool:
        chosen = {"workers": 2, "spare_workers": 0, "device": "cpu", "drain_seconds": 0, **settings}
        pool = Pool(Settings(**chosen), tasks)
        pools.append(pool)
        await pool.start()
        await until(lambda: pool.state.workers == chosen["workers"] + chosen["spare_workers"])
        return pool

    yield make
    for pool in pools:
        pids = pool.worker_pids
        await pool.stop()
        assert not any(alive(pid) for pid in pids)


@pytest.fixture
def without_workers(monkeypatch: pytest.MonkeyPatch) -> WithoutWorkers:
    """Makes a pool that starts no process: the test ends its jobs, by the dispatcher that it gets."""
    monkeypatch.setattr("service.engine.pool.Dispatcher", FakeDispatcher)

    def make(**settings: Any) -> tuple[Pool, FakeDispatcher]:
        pool = Pool(Settings(workers=1, spare_workers=0, device="cpu", **settings))
        return pool, cast(FakeDispatcher, pool._dispatcher)

    return make


async def test_jobs_go_to_worker_processes_and_come_back(make_pool: MakePool) -> None:
    pool = await make_pool()
    assert pool.ready
    assert pool.model_id == b"no model"
    rendered = await pool.render(render("one"), COST)
    assert (rendered.width, rendered.height, rendered.media_type) == (4, 3, "image/png")
    assert json.loads(rendered.body)["pid"] in pool.worker_pids
    uploaded = await pool.upload(upload(), COST)
    assert uploaded.alpha == (b"a", b"b")
    assert uploaded.seconds["encode"] == 0.5


async def test_a_large_job_comes_through_whole(make_pool: MakePool) -> None:
    pool = await make_pool(workers=1)
    job = upload(padding="x" * (8 * MIB))
    assert (await pool.upload(job, COST)).stream == job.data


async def test_workers_get_their_environment_and_no_secrets(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMPASS_API_KEYS", "secret")
    pool = await make_pool(workers=1, worker_threads=3, url_keys=("secret",), worker_niceness=3)
    body = await answer(pool, render())
    assert body["environment"]["OMP_NUM_THREADS"] == "3"
    assert body["environment"]["CUDA_VISIBLE_DEVICES"] == ""
    assert int(body["environment"]["MALLOC_MMAP_THRESHOLD_"]) == LARGE_BLOCK
    assert body["environment"]["THP_MEM_ALLOC_ENABLE"] == "1"
    assert body["secrets"] == []
    assert body["settings"] == [
        "device", "gamut", "graphics", "max_pixels", "niceness", "profile", "worker_cache_bytes",
    ]  # fmt: skip
    assert body["niceness"] == os.nice(0) + 3
    plain = await make_pool(workers=1)
    assert (await answer(plain, render()))["niceness"] == os.nice(0)


async def test_a_job_is_told_how_long_it_waited(make_pool: MakePool) -> None:
    pool = await make_pool(workers=1)
    busy = asyncio.create_task(answer(pool, render("first", do="sleep", seconds=0.5)))
    await until(lambda: pool.state.running["light"] == 1)
    begin = time.monotonic()
    rendered = await pool.render(render("second", do="sleep", seconds=0.2), COST)
    took = time.monotonic() - begin
    await busy
    assert 0.2 < rendered.seconds["queue"] < took - 0.2
    alone = await pool.render(render("third", do="sleep", seconds=0.2), COST)
    assert alone.seconds["queue"] < 0.2


async def test_errors_of_the_tasks_are_carried_over(make_pool: MakePool) -> None:
    pool = await make_pool(workers=1)
    with pytest.raises(BadPicture, match="the picture is damaged") as refused:
        await pool.render(render(do="refuse"), COST)
    assert refused.value.retry_after == 3.5
    with pytest.raises(BadPicture):
        await pool.upload(upload(do="refuse"), COST)
    with pytest.raises(WorkerFailed, match="too little memory"):
        await pool.render(render(do="out of memory"), COST)
    assert pool.state.restarts == {}


async def test_a_bug_tells_the_client_no_details_and_ends_nothing(make_pool: MakePool) -> None:
    pool = await make_pool(workers=1)
    with pytest.raises(ServiceError) as refused:
        await pool.render(render(do="bug"), COST)
    assert "private" not in str(refused.value)
    assert refused.value.status == 500
    assert pool.state.restarts == {}


@pytest.mark.parametrize("act", ["crash", "exit", "device fault"])
async def test_a_reading_whose_worker_ends_is_done_by_another(
    make_pool: MakePool, tmp_path: Path, act: str
) -> None:
    pool = await make_pool()
    once = tmp_path / "done"
    pids = pool.worker_pids
    body = await answer(pool, render(do=act, once=str(once)))
    assert once.exists()
    assert body["pid"] in pids
    assert pool.state.retried == 1
    await until(lambda: pool.state.workers == 2)
    assert pool.state.restarts == {"crashed": 1}
    assert sorted(pool.worker_pids) != sorted(pids)


async def test_a_spare_worker_takes_the_place_of_one_that_ends(make_pool: MakePool) -> None:
    pool = await make_pool(workers=1, spare_workers=1)
    first, spare = pool.worker_pids
    for number in range(4):
        assert (await answer(pool, render(str(number))))["pid"] == first
    os.kill(first, signal.SIGKILL)
    await until(lambda: first not in pool.worker_pids)
    assert (await answer(pool, render("0")))["pid"] == spare
    await until(lambda: pool.state.workers == 2)
    assert (await answer(pool, render("0")))["pid"] == spare  # the new one is the spare one now


async def test_spare_workers_do_not_work_beside_the_others(make_pool: MakePool) -> None:
    pool = await make_pool(workers=1, spare_workers=1)
    jobs = [asyncio.create_task(answer(pool, render(str(n), do="sleep", seconds=0.2))) for n in range(3)]
    await until(lambda: pool.state.running["light"] == 1)
    assert pool.state.waiting["light"] == 2
    assert len({(await job)["pid"] for job in jobs}) == 1


async def test_a_reading_that_ends_its_worker_goes_to_the_spare_one(
    make_pool: MakePool, tmp_path: Path
) -> None:
    pool = await make_pool(workers=1, spare_workers=1)
    spare = pool.worker_pids[1]
    assert (await answer(pool, render(do="crash", once=str(tmp_path / "done"))))["pid"] == spare


async def test_an_upload_whose_worker_ends_fails_and_is_not_tried_again(
    make_pool: MakePool, tmp_path: Path
) -> None:
    pool = await make_pool()
    with pytest.raises(WorkerFailed):
        await pool.upload(upload(do="crash", once=str(tmp_path / "done")), COST)
    assert pool.state.retried == 0
    assert (await pool.upload(upload(), COST)).width == 4


@pytest.mark.slow
async def test_a_picture_that_ends_two_workers_does_not_end_a_third(make_pool: MakePool) -> None:
    pool = await make_pool()
    with pytest.raises(WorkerFailed):
        await pool.render(render("bad", layer=1, do="crash"), COST)
    with pytest.raises(Quarantined) as refused:
        await pool.render(render("bad", layer=1), COST)
    assert refused.value.status == 503
    assert 60 < (refused.value.retry_after or 0) <= 600
    with pytest.raises(Quarantined):
        pool.check(render("bad", layer=2).plan, COST)
    await until(lambda: pool.state.workers == 2)
    assert pool.state.restarts == {"crashed": 2}
    assert await answer(pool, render("bad", layer=0))
    assert await answer(pool, render("good", layer=1))
    for _ in range(2):
        with pytest.raises(WorkerFailed):
            await pool.upload(upload(do="crash"), COST)
        await until(lambda: pool.state.workers == 2)
    with pytest.raises(Quarantined):
        await pool.upload(upload(do="crash"), COST)


@pytest.mark.slow
async def test_a_picture_that_was_only_near_a_death_is_not_blamed(make_pool: MakePool) -> None:
    pool = await make_pool()
    for _ in range(3):
        job = asyncio.create_task(answer(pool, render("innocent", do="sleep", seconds=0.3)))
        await until(lambda: pool.state.running["light"] == 1)
        victim = next(pid for pid, link in _running(pool).items() if link)
        os.kill(victim, signal.SIGKILL)
        assert (await job)["pid"] != victim
        await until(lambda: pool.state.workers == 2)
    assert pool.state.retried == 3


def _running(pool: Pool) -> dict[int, int]:
    return {link.pid: len(link.running) for link in pool._links.values()}


@pytest.mark.slow
@pytest.mark.parametrize("act", ["sleep", "spin", "hang with the interpreter lock"])
async def test_a_hung_worker_is_replaced(make_pool: MakePool, act: str) -> None:
    pool = await make_pool(read_deadline=0.5)
    pids = pool.worker_pids
    with pytest.raises(DeadlineExceeded):
        await pool.render(render("hangs", do=act, seconds=3600), COST)
    assert await answer(pool, render("other"))
    await until(lambda: pool.state.restarts == {"hung": 1} and pool.state.workers == 2)
    assert len(set(pids) & set(pool.worker_pids)) == 1
    # whoever asked may have chosen what takes for ever: the picture is not to blame
    with suppress(DeadlineExceeded):
        await pool.render(render("hangs", do=act, seconds=3600), COST)
    await until(lambda: pool.state.restarts == {"hung": 2} and pool.state.workers == 2)
    assert await answer(pool, render("hangs"))


async def test_a_worker_that_gets_little_of_the_cpu_is_not_hung(make_pool: MakePool) -> None:
    pool = await make_pool(workers=1, read_deadline=0.5)
    pids = pool.worker_pids
    with pytest.raises(DeadlineExceeded) as late:
        await pool.render(render(do="starve", seconds=6), COST)
    assert late.value.retry_after
    await until(lambda: pool.state.running["light"] == 0)
    assert pool.state.restarts == {}
    assert (await answer(pool, render()))["pid"] == pids[0]


async def test_a_worker_that_talks_nonsense_is_ended(make_pool: MakePool, tmp_path: Path) -> None:
    pool = await make_pool()
    assert await answer(pool, render(do="nonsense", once=str(tmp_path / "done")))
    assert pool.state.restarts == {"protocol": 1}


async def test_a_job_that_waits_too_long_is_never_begun(without_workers: WithoutWorkers) -> None:
    pool, dispatcher = without_workers(read_deadline=0.05)
    busy = asyncio.create_task(pool.upload(upload(), COST))
    await until(lambda: pool.state.running["upload"] == 1)
    with pytest.raises(DeadlineExceeded):
        await pool.render(render(), COST)
    dispatcher.finish(UPLOADED)
    assert (await busy).stream == UPLOADED.stream
    assert dispatcher.begun == []
    assert pool.state.late == 1


async def test_heavy_jobs_are_given_more_time(without_workers: WithoutWorkers) -> None:
    pool, dispatcher = without_workers(read_deadline=0.3)
    jobs = [asyncio.create_task(pool.render(render(), cost)) for cost in (COST, 80e6)]
    await until(lambda: pool.state.running["light"] == 1)
    light = dispatcher.finish(RENDERED)
    heavy = dispatcher.finish(RENDERED)
    assert light.allowed == pytest.approx(0.3)
    assert heavy.allowed == pytest.approx(3.0)
    await asyncio.gather(*jobs)


async def test_a_job_whose_client_left_is_never_begun(without_workers: WithoutWorkers) -> None:
    pool, dispatcher = without_workers()
    busy = asyncio.create_task(pool.render(render(), COST))
    waiting = asyncio.create_task(pool.render(render("other"), COST))
    await until(lambda: pool.state.waiting["light"] == 1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert pool.state.waiting["light"] == 0
    dispatcher.finish(RENDERED)
    await busy
    assert dispatcher.begun == []
    assert pool.state.abandoned == 1


async def test_a_full_queue_refuses_at_once(without_workers: WithoutWorkers) -> None:
    pool, dispatcher = without_workers(read_queue=3)
    jobs = [asyncio.create_task(pool.render(render(str(n)), COST)) for n in range(4)]
    await until(lambda: pool.state.waiting["light"] == 3)
    with pytest.raises(Overloaded) as refused:
        await pool.render(render("late"), COST)
    assert refused.value.retry_after is not None
    assert refused.value.retry_after >= 1
    with pytest.raises(Overloaded):
        pool.check(render("late").plan, COST)
    for _ in jobs:
        dispatcher.finish(RENDERED)
    assert len(await asyncio.gather(*jobs)) == 4
    pool.check(render("late").plan, COST)
    assert pool.state.refused == 2


async def test_an_answer_of_another_kind_is_an_error(without_workers: WithoutWorkers) -> None:
    pool, dispatcher = without_workers()
    for work, wrong in (
        (pool.render(render(), COST), UPLOADED),
        (pool.render(render(), COST), replace(RENDERED, media_type="text/html")),
        (pool.upload(upload(), COST), RENDERED),
    ):
        job = asyncio.create_task(work)
        await until(lambda: bool(dispatcher.begun))
        dispatcher.finish(wrong)
        with pytest.raises(WorkerFailed, match="another kind"):
            await job


async def test_a_client_that_leaves_a_running_job_harms_nobody(make_pool: MakePool) -> None:
    pool = await make_pool(workers=1)
    running = asyncio.create_task(answer(pool, render(do="sleep", seconds=0.3)))
    await until(lambda: pool.state.running["light"] == 1)
    running.cancel()
    assert await answer(pool, render())
    assert pool.state.restarts == {}


@pytest.mark.slow
async def test_small_renderings_and_uploads_do_not_wait_for_heavy_ones(make_pool: MakePool) -> None:
    pool = await make_pool()
    heavy = [
        asyncio.create_task(answer(pool, render(f"heavy {n}", do="sleep", seconds=1), cost=50e6))
        for n in range(3)
    ]
    coding = asyncio.create_task(pool.upload(upload(do="sleep", seconds=1), COST))
    await until(lambda: pool.state.running["heavy"] + pool.state.running["upload"] == 1)
    for n in range(20):
        assert await answer(pool, render(f"small {n}"))
        assert pool.state.running["heavy"] + pool.state.running["upload"] == 1
    await asyncio.gather(*heavy, coding)


async def test_a_picture_goes_to_the_worker_that_holds_its_layers(make_pool: MakePool) -> None:
    pool = await make_pool()
    homes = {}
    for key in ("a", "b", "c", "d"):
        homes[key] = (await answer(pool, render(key)))["pid"]
    for key in ("d", "b", "a", "c", "b"):
        assert (await answer(pool, render(key, layer=1)))["pid"] == homes[key]


async def test_a_popular_picture_does_not_keep_the_other_worker_idle(make_pool: MakePool) -> None:
    pool = await make_pool()
    jobs = [answer(pool, render("popular", do="sleep", seconds=0.2)) for _ in range(6)]
    pids = {body["pid"] for body in await asyncio.gather(*jobs)}
    assert len(pids) == 2


async def test_a_worker_that_has_grown_too_large_is_replaced_after_its_job(make_pool: MakePool) -> None:
    pool = await make_pool(workers=1, worker_memory_bytes=400 * MIB)
    pids = pool.worker_pids
    grown = await answer(pool, render(do="grow", bytes=450 * MIB))
    assert [grown["pid"]] == pids
    await until(lambda: pool.state.restarts == {"memory": 1} and pool.ready)
    assert (await answer(pool, render()))["pid"] != grown["pid"]
    assert pool.state.retried == 0


async def test_a_job_that_takes_far_too_much_memory_is_ended(make_pool: MakePool) -> None:
    pool = await make_pool(workers=1, worker_memory_bytes=200 * MIB)
    with pytest.raises(WorkerFailed):
        await pool.upload(upload(do="grow", bytes=400 * MIB, then=3600), COST)
    assert await answer(pool, render())
    assert pool.state.restarts == {"memory": 1}


async def test_batches_shrink_when_memory_runs_out(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.engine.pool.places", _one_batching_place)
    pool = await make_pool(BATCHES, workers=1)
    blocker = asyncio.create_task(answer(pool, render("first", do="sleep", seconds=0.3)))
    await until(lambda: pool.state.running["light"] == 1)
    jobs = [asyncio.create_task(answer(pool, render(str(n)))) for n in range(7)]
    bad = asyncio.create_task(answer(pool, render("bad", do="refuse")))
    await blocker
    assert [body["key"] for body in await asyncio.gather(*jobs)] == [str(n) for n in range(7)]
    with pytest.raises(BadPicture):
        await bad
    assert pool.state.restarts == {}


async def test_one_bad_job_does_not_take_its_batch_with_it(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.engine.pool.places", _one_batching_place)
    pool = await make_pool(BATCHES, workers=1)
    blocker = asyncio.create_task(answer(pool, render("first", do="sleep", seconds=0.3)))
    await until(lambda: pool.state.running["light"] == 1)
    jobs = [asyncio.create_task(answer(pool, render(str(n)))) for n in range(4)]
    bad = asyncio.create_task(answer(pool, render("bad", do="crash")))
    await blocker
    assert len(await asyncio.gather(*jobs)) == 4
    with pytest.raises(WorkerFailed):
        await bad
    assert pool.state.restarts == {"crashed": 2}


def _one_batching_place(*_: object) -> tuple[Any, ...]:
    from service.engine.devices import Place

    return (Place(0, {"CUDA_VISIBLE_DEVICES": ""}, pipelines=1, batch=8),)


@pytest.mark.slow
async def test_workers_killed_at_random_spoil_no_answer(make_pool: MakePool) -> None:
    pool = await make_pool()
    descriptors = open_descriptors()
    chance = random.Random(1)
    ended = False
    right = wrong = failed = 0

    async def client(name: int) -> None:
        nonlocal right, wrong, failed
        number = 0
        while not ended:
            number += 1
            key = f"{name}/{number}"
            try:
                body = await answer(pool, render(key, do="sleep", seconds=0.01))
            except WorkerFailed:
                failed += 1
            else:
                right += body["key"] == key
                wrong += body["key"] != key

    clients = [asyncio.create_task(client(name)) for name in range(4)]
    for _ in range(6):
        await until(lambda: pool.ready)
        answered = right
        await until(lambda answered=answered: right > answered + 5)  # type: ignore[misc]
        os.kill(chance.choice(pool.worker_pids), signal.SIGKILL)
    ended = True
    await asyncio.gather(*clients)
    assert wrong == 0
    assert failed <= right / 100
    assert sum(pool.state.restarts.values()) == 6
    await until(lambda: pool.state.workers == 2)
    assert open_descriptors() <= descriptors + 2


async def test_stopping_finishes_what_was_accepted_and_takes_no_more(make_pool: MakePool) -> None:
    pool = await make_pool(workers=1, drain_seconds=30)
    jobs = [asyncio.create_task(answer(pool, render(str(n), do="sleep", seconds=0.2))) for n in range(3)]
    await until(lambda: pool.state.waiting["light"] == 2)
    stopping = asyncio.create_task(pool.stop())
    await asyncio.sleep(0)
    with pytest.raises(WorkerFailed, match="stopping"):
        await pool.render(render(), COST)
    assert len(await asyncio.gather(*jobs)) == 3
    await stopping
    assert pool.worker_pids == []


async def test_stopping_does_not_wait_for_ever(make_pool: MakePool) -> None:
    pool = await make_pool(workers=1, drain_seconds=0.2)
    jobs = [asyncio.create_task(answer(pool, render(str(n), do="sleep", seconds=3600))) for n in range(2)]
    await until(lambda: pool.state.waiting["light"] == 1)
    await pool.stop()
    failed = await asyncio.gather(*jobs, return_exceptions=True)
    assert [type(error) for error in failed] == [Stopping, Stopping]


async def test_workers_that_cannot_load_are_an_error_at_the_start() -> None:
    pool = Pool(Settings(workers=1, device="cpu", drain_seconds=0), "tests.service.fault_tasks:Nothing")
    with pytest.raises(WorkerFailed, match="before they are ready"):
        await pool.start()
    await pool.stop()
