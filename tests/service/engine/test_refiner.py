"""The process that refines, a real one: it stands still for everybody, and its faults are nobody else's."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from service.engine import refiner as module
from service.engine.devices import refining_place
from service.engine.pool import Pool
from service.engine.refiner import QUIET_SECONDS, Refiner
from service.errors import BadPicture, DamagedStream, Stopping, WorkerFailed
from service.messages.jobs import Recode, Recoded, Refine
from service.settings import Settings
from tests.service.engine.test_pool import COST, FAULTS, alive, render, until, upload
from tests.service.fakes import stream
from tests.service.worker.test_process import wait_for_end

STREAM = stream((50, 40), (100, 80))
SETTINGS = Settings(workers=1, spare_workers=0, device="cpu", drain_seconds=0)
MARGIN = 0.05
"""Seconds that a signal may take on a busy machine, and a line on its way into a file."""

Make = Callable[..., Refiner]


def job(**order: Any) -> Refine:
    return Refine("key", json.dumps(order).encode(), STREAM, "fast")


def steps(log: Path) -> list[float]:
    return [float(line) for line in log.read_text().splitlines()] if log.exists() else []


@pytest.fixture(autouse=True)
def at_full_speed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a process that stands back for all others takes minutes to start."""
    if "stands_back" not in request.node.name:
        monkeypatch.setattr(os, "sched_setscheduler", lambda *_: None)  # inherited by the child before exec
        monkeypatch.setattr(module, "LAST", 0)


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    made: list[Refiner] = []

    def refiner(busy: Callable[[], bool] = lambda: False) -> Refiner:
        made.append(Refiner(SETTINGS, refining_place(SETTINGS, os.environ), FAULTS, busy))
        return made[-1]

    yield refiner
    for one in made:
        pid = one.pid
        await one.stop()
        assert pid is None or not alive(pid)


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    made = Pool(SETTINGS, FAULTS)
    await made.start()
    yield made
    await made.stop()


async def test_it_refines_and_tells_how_far_it_is(make: Make, tmp_path: Path) -> None:
    refiner, shares = make(), list[float]()
    assert not refiner.pid  # nothing runs for nothing
    found = await refiner.refine(job(steps=20, log=str(tmp_path / "log")), shares.append)
    assert (found.stream, found.seconds) == (STREAM[:-1], 0.5)
    assert shares
    assert shares == sorted(shares)
    pid = refiner.pid
    await refiner.refine(job())
    assert refiner.pid == pid


async def test_it_stands_back_for_every_other_process(make: Make) -> None:
    refiner = make()
    refining = asyncio.create_task(refiner.refine(job()))
    await until(lambda: refiner.pid is not None)
    assert refiner.pid is not None
    assert os.sched_getscheduler(refiner.pid) == os.SCHED_IDLE
    await refining
    assert os.getpriority(os.PRIO_PROCESS, refiner.pid) == 19


@pytest.mark.parametrize("work", [render(do="sleep", seconds=0.5), upload(do="sleep", seconds=0.5)])
async def test_it_stands_still_as_long_as_there_is_other_work(pool: Pool, tmp_path: Path, work: Any) -> None:
    """Whoever reads or uploads is answered before refining goes on: not a step is begun meanwhile."""
    log = tmp_path / "log"
    refining = asyncio.create_task(pool.refine(job(steps=60, log=str(log))))
    await until(lambda: len(steps(log)) > 5)
    for _ in range(2):
        begin = time.monotonic()
        await (pool.upload(work, COST) if "Upload" in str(type(work)) else pool.render(work, COST))
        end = time.monotonic()
        assert end - begin >= 0.5
        assert not [step for step in steps(log) if begin + MARGIN < step < end]
        at_end = len(steps(log))
        await until(lambda: len(steps(log)) > at_end + 3)  # noqa: B023
    assert (await refining).stream == STREAM[:-1]
    assert len(steps(log)) == 60


async def test_work_that_comes_all_the_time_keeps_it_still(make: Make, tmp_path: Path) -> None:
    log, refiner = tmp_path / "log", make()
    refining = asyncio.create_task(refiner.refine(job(steps=30, log=str(log))))
    await until(lambda: len(steps(log)) > 2)
    begin = time.monotonic()
    while time.monotonic() < begin + 4 * QUIET_SECONDS:
        refiner.make_way()
        await asyncio.sleep(QUIET_SECONDS / 5)
    assert not [step for step in steps(log) if step > begin + MARGIN]
    await refining


async def test_it_does_not_even_start_while_there_is_other_work(make: Make) -> None:
    busy = [True]
    refiner = make(lambda: busy[0])
    refining = asyncio.create_task(refiner.refine(job()))
    await until(lambda: refiner.pid is not None)
    await asyncio.sleep(3 * QUIET_SECONDS)
    assert psutil.Process(refiner.pid).status() == psutil.STATUS_STOPPED
    busy[0] = False
    assert (await refining).stream


@pytest.mark.parametrize("act", ["crash", "exit", "nonsense"])
async def test_a_process_that_ends_is_the_end_of_its_job_alone(make: Make, act: str) -> None:
    refiner = make()
    with pytest.raises(WorkerFailed):
        await refiner.refine(job(do=act))
    assert (await refiner.refine(job())).stream == STREAM[:-1]


async def test_readings_live_through_its_crash(pool: Pool) -> None:
    before = pool.worker_pids
    with pytest.raises(WorkerFailed):
        await pool.refine(job(do="crash"))
    await pool.render(render(), COST)
    assert pool.worker_pids == before
    assert sum(pool.state.restarts.values()) == 0


async def test_one_that_stands_still_is_ended(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """But not while it is made to."""
    monkeypatch.setattr(module, "STILL_SECONDS", 1.0)
    monkeypatch.setattr(module, "_FIRST_SECONDS", 0.2)
    monkeypatch.setattr(module, "_SECONDS", {"fast": 0.0})
    busy = [False]
    refiner = make(lambda: busy[0])
    await refiner.refine(job())
    busy[0] = True
    refining = asyncio.create_task(refiner.refine(job(do="sleep", seconds=3600)))
    refiner.make_way()
    await asyncio.sleep(2.0)
    assert not refining.done()
    busy[0] = False
    with pytest.raises(WorkerFailed, match="hung"):
        await refining


async def test_one_that_takes_too_much_of_the_cpu_is_ended(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FIRST_SECONDS", 0.3)
    monkeypatch.setattr(module, "_SECONDS", {"fast": 0.0})
    with pytest.raises(WorkerFailed, match="hung"):
        await make().refine(job(do="spin", seconds=3600))


async def test_what_the_task_refuses_is_told(make: Make) -> None:
    refiner = make()
    with pytest.raises(BadPicture, match="damaged"):
        await refiner.refine(job(do="refuse"))
    with pytest.raises(DamagedStream):
        await refiner.refine(Refine("key", b"{}", b"no stream", "fast"))
    assert (await refiner.refine(job())).stream == STREAM[:-1]


async def test_whoever_gives_up_ends_the_process(make: Make) -> None:
    refiner = make()
    await refiner.refine(job())
    pid = refiner.pid
    assert pid is not None
    refining = asyncio.create_task(refiner.refine(job(do="sleep", seconds=3600)))
    await asyncio.sleep(0.1)
    refining.cancel()
    with pytest.raises(asyncio.CancelledError):
        await refining
    assert (await refiner.refine(job())).stream == STREAM[:-1]
    assert not alive(pid)


async def test_at_its_end_nothing_is_begun(make: Make) -> None:
    refiner = make()
    refining = asyncio.create_task(refiner.refine(job(do="sleep", seconds=3600)))
    await until(lambda: refiner.pid is not None)
    await asyncio.sleep(0.1)
    await refiner.stop()
    for waiting in (refining, refiner.refine(job())):
        with pytest.raises(Stopping):
            await waiting
    assert refiner.pid is None


async def test_without_work_the_process_ends_by_itself(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.3)
    refiner = make()
    await refiner.refine(job())
    assert refiner.pid is not None
    await refiner.refine(job(do="sleep", seconds=0.5))  # longer than it may be idle, which it is not
    await until(lambda: refiner.pid is None)
    assert (await refiner.refine(job())).stream == STREAM[:-1]


HOST = """
import asyncio, os, sys
from service.engine.devices import refining_place
from service.engine.refiner import Refiner
from service.settings import Settings
from tests.service.engine.test_refiner import FAULTS, job

async def main():
    settings = Settings(workers=1, device="cpu")
    refiner = Refiner(settings, refining_place(settings, os.environ), FAULTS, lambda: True)
    busy = asyncio.create_task(refiner.refine(job(do="sleep", seconds=3600)))
    while refiner.pid is None:
        await asyncio.sleep(0.01)
    await asyncio.sleep(float(sys.argv[1]))
    print(refiner.pid, flush=True)
    await busy

asyncio.run(main())
"""


@pytest.mark.parametrize("seconds", [0, 0.2, 1.0])
def test_a_process_that_stands_still_ends_with_its_parent(seconds: float) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *filter(None, sys.path)])}
    with subprocess.Popen(
        [sys.executable, "-c", HOST, str(seconds)], stdout=subprocess.PIPE, env=environment, text=True
    ) as host:
        assert host.stdout is not None
        pid = int(host.stdout.readline())
        assert alive(pid)
        host.kill()
        host.wait()
    wait_for_end([pid])


async def test_it_codes_anew_too(make: Make) -> None:
    refiner = make()
    order = Recode("key", b"{}", STREAM)
    assert await refiner.recode(order) == Recoded(STREAM[::-1], 0.25)
    with pytest.raises(WorkerFailed):
        await refiner.recode(Recode("key", json.dumps({"do": "crash"}).encode(), STREAM))
    with pytest.raises(DamagedStream):
        await refiner.recode(Recode("key", b"{}", b"no stream"))
    assert await refiner.recode(order) == Recoded(STREAM[::-1], 0.25)
