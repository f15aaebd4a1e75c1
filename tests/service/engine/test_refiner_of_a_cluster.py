"""The refiner with a process that stands for the bridge to a cluster."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from service.engine import devices, refiner
from service.engine.devices import refining_place
from service.engine.refiner import Refiner
from service.errors import ServiceError, Stopping, WorkerFailed
from service.messages.jobs import Recode, Refine
from service.settings import Settings
from tests.service.engine.test_pool import FAULTS, until
from tests.service.engine.test_refiner import STREAM


@pytest.fixture
async def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Refiner]:
    monkeypatch.setattr(devices, "find_spec", lambda name: True)
    monkeypatch.setattr(refiner, "CLUSTER_SECONDS", 0.05)
    settings = Settings(
        engine="ray", ray_address="x:1", redis_url="redis://x", ray_max_replicas=3, data=tmp_path
    )
    place = refining_place(settings, os.environ)
    assert place.module == "service.cluster.bulk"
    made = Refiner(
        settings, replace(place, module="tests.service.engine.fake_bulk"), FAULTS, busy=lambda: True
    )
    yield made
    await made.stop()


def job(act: str) -> Refine:
    return Refine(act, b"data", STREAM, "fast")


async def test_as_many_at_once_as_the_cluster_may_have_workers(cluster: Refiner) -> None:
    assert cluster.at_once == 3
    await cluster.refine(job("answer"))
    start = time.monotonic()
    found = await asyncio.gather(*(cluster.refine(job("answer")) for _ in range(6)))
    assert [one.stream for one in found] == [b"small"] * 6
    assert 0.6 < time.monotonic() - start < 1.7  # two rounds of 0.3 s


async def test_pictures_are_coded_anew_as_well(cluster: Refiner) -> None:
    assert (await cluster.recode(Recode("answer", b"", STREAM))).stream == b"new"


async def test_who_makes_the_front_end_busy_does_not_stop_the_cluster(cluster: Refiner) -> None:
    running = asyncio.create_task(cluster.refine(job("answer")))
    for _ in range(5):
        cluster.make_way()
        await asyncio.sleep(0.02)
    assert (await running).stream == b"small"


async def test_whoever_gives_up_leaves_the_others_alone(cluster: Refiner) -> None:
    await cluster.refine(job("answer"))
    pid = cluster.pid
    waiting = asyncio.create_task(cluster.refine(job("wait")))
    other = asyncio.create_task(cluster.refine(job("answer")))
    await asyncio.sleep(0.1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert (await other).stream == b"small"
    assert cluster.pid == pid


async def test_a_picture_that_ends_workers_fails_alone(cluster: Refiner) -> None:
    pictures = asyncio.gather(
        cluster.refine(job("die")), cluster.refine(job("answer")), return_exceptions=True
    )
    died, other = await pictures
    assert isinstance(died, WorkerFailed)
    assert getattr(other, "stream", None) == b"small"


async def test_what_was_under_way_when_the_cluster_was_lost_is_done_all_the_same(cluster: Refiner) -> None:
    found = await asyncio.gather(
        cluster.refine(job("end")), *(cluster.refine(job("answer")) for _ in range(2))
    )
    assert [one.stream for one in found] == [b"small"] * 3


@pytest.mark.parametrize("ready", [False, True])
async def test_it_can_be_stopped_while_it_starts_or_works(cluster: Refiner, ready: bool) -> None:
    if ready:
        await cluster.refine(job("answer"))
    waiting = asyncio.create_task(cluster.refine(job("wait")))
    await until(lambda: cluster.pid is not None)
    await cluster.stop()
    with pytest.raises((Stopping, WorkerFailed)):
        await waiting


def test_without_ray_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "find_spec", lambda name: None)
    settings = Settings(engine="ray", ray_address="x:1", redis_url="redis://x")
    with pytest.raises(ServiceError, match="needs Ray"):
        refining_place(settings, os.environ)
