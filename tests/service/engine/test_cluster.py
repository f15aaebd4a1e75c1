"""The engine of a cluster, with a process that stands for the bridge.

The real one is tested in ``tests/service/cluster``.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from pydantic import SecretStr

from model.geometry import Size
from service.engine.choice import engine_of
from service.engine.cluster import ClusterEngine
from service.engine.fallback import WithFallback
from service.engine.pool import Pool
from service.errors import DeadlineExceeded, Quarantined, ServiceError, WorkerFailed
from service.messages.jobs import Render, Rendered
from service.messages.plans import RenderPlan
from service.settings import Settings
from tests.service.engine.test_pool import until

COST = 100_000.0
SETTINGS = Settings(
    engine="ray", ray_address="x:1", redis_url="redis://:secret@x", read_deadline=60, drain_seconds=0
)


def plan(act: str) -> RenderPlan:
    return RenderPlan(act, "stream", 0, Size(3, 4), "png", 80)


async def never() -> Render:
    raise AssertionError("the front end reads no stream for a cluster")


@pytest.fixture
async def engine(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ClusterEngine]:
    monkeypatch.setattr("service.engine.devices.find_spec", lambda name: True)
    made = ClusterEngine(SETTINGS)
    made._places = [replace(made._places[0], module="tests.service.engine.fake_bridge")]
    await made.start()
    yield made
    await made.stop()


async def made_of(engine: ClusterEngine, act: str) -> Rendered:
    return await engine.carry_out(plan(act), COST, never)


async def test_a_plan_goes_out_and_a_picture_comes_back(engine: ClusterEngine) -> None:
    assert engine.ready
    assert (engine.model_id, engine.state.workers) == (b"no model", 3)
    rendered = await made_of(engine, "answer")
    assert (rendered.body, rendered.bytes_read) == (b"body", 77)
    assert rendered.seconds.keys() == {"fetch", "queue"}


async def test_a_picture_that_ends_replicas_is_in_quarantine(engine: ClusterEngine) -> None:
    with pytest.raises(WorkerFailed):
        await made_of(engine, "die")
    with pytest.raises(Quarantined):
        await made_of(engine, "die")
    assert (engine.state.retried, engine.state.restarts) == (1, {"crashed": 2})
    assert not engine.busy


async def test_a_success_absolves(engine: ClusterEngine) -> None:
    for _ in range(4):
        await made_of(engine, "limp")


async def test_a_job_that_is_given_up_is_cancelled_there(engine: ClusterEngine) -> None:
    engine._settings = SETTINGS.model_copy(update={"read_deadline": 0.5})
    with pytest.raises(DeadlineExceeded):
        await made_of(engine, "wait")
    await until(lambda: not engine.busy)
    waiting = asyncio.create_task(made_of(engine, "wait"))
    await asyncio.sleep(0.1)
    waiting.cancel()
    await until(lambda: not engine.busy)
    assert (engine.state.late, engine.state.abandoned) == (1, 1)


async def test_without_a_replica_jobs_fail_at_once(engine: ClusterEngine) -> None:
    await made_of(engine, "leave")
    assert not engine.ready
    with pytest.raises(WorkerFailed, match="no worker of the cluster is ready") as raised:
        await made_of(engine, "answer")
    assert raised.value.retry_after == 2


async def test_a_bridge_that_ends_is_started_again_and_nobody_is_blamed(engine: ClusterEngine) -> None:
    for _ in range(3):
        with pytest.raises(WorkerFailed, match="the cluster was lost"):
            await made_of(engine, "end")
        await until(lambda: engine.ready)
    assert (await made_of(engine, "answer")).body == b"body"


async def test_the_bridge_is_told_the_settings_without_the_keys_of_clients() -> None:
    keys = (SecretStr("key"),)
    told = Settings(api_keys=keys, widths=(20, 40), redis_password=keys[0], redis_url="redis://x").for_cluster
    assert told == {
        "COMPASS_REDIS_PASSWORD": "key",
        "COMPASS_REDIS_URL": "redis://x",
        "COMPASS_WIDTHS": "20,40",
    }


async def test_ray_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.engine.devices.find_spec", lambda name: None)
    with pytest.raises(ServiceError, match="compass-images\\[ray\\]"):
        engine_of(SETTINGS)


async def test_another_engine_works_while_the_cluster_cannot(engine: ClusterEngine) -> None:
    local = Pool(Settings(workers=1, spare_workers=0, device="cpu"), "tests.service.fault_tasks:FaultTasks")
    both = WithFallback(engine, local)
    await local.start()
    try:
        assert (await both.carry_out(plan("leave"), COST, never)).body == b"body"
        job = Render(plan("answer"), b"{}")

        async def fetch() -> Render:
            return job

        assert str(os.getpid()).encode() not in (await both.carry_out(job.plan, COST, fetch)).body
        assert both.ready
        assert both.state.workers == 1
    finally:
        await local.stop()


def test_the_settings_choose() -> None:
    assert type(engine_of(Settings())) is Pool
