"""A replica without a cluster around it: a real store, the real tasks, in batches as on a GPU or singly."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace
from typing import ClassVar

import pytest

from model.geometry import Size
from model.stream.container import read_header
from model.stream.ladder import Ladder
from service.engine.cluster import ongoing
from service.errors import ServiceError
from service.messages.jobs import Render, Rendered, Upload, Uploaded
from service.messages.plans import RenderPlan
from service.messages.protocol import Failure
from service.planning.identity import stream_name
from service.settings import Settings, WorkerSettings
from service.storage.records import Record
from service.storage.store import Store
from service.storage.valkey import EmbeddedValkey
from service.worker.tasks import Tasks
from tests.service.engine.test_pool import until
from tests.service.samples import encoded, photo
from tests.service.storage.samples import FACTS

serve_context = pytest.importorskip("ray.serve.context")
replica_module = pytest.importorskip("service.cluster.replica")


class CountedTasks(Tasks):
    """The tasks, which tell how large their batches were, and what they were told to forget."""

    batches: ClassVar[list[int]] = []
    forgotten: ClassVar[list[object]] = []

    def __init__(self, settings: WorkerSettings) -> None:
        super().__init__(settings)
        CountedTasks.batches.clear()
        CountedTasks.forgotten.clear()

    def render_batch(self, jobs: Sequence[Render]) -> list[Rendered | ServiceError]:
        self.batches.append(len(jobs))
        return super().render_batch(jobs)

    def forget(self, pictures: object) -> None:
        self.forgotten.append(pictures)


@pytest.fixture(params=[0.0, 1.0], ids=["core", "gpu"])
async def replica(
    request: pytest.FixtureRequest, valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[object]:
    """A replica as on a core, and as on a GPU, which here computes on a core, too. Ray's batches ask how many
    jobs their replica takes at once.
    """
    settings = Settings(device="cpu", redis_url=valkey.url, ray_gpus=request.param)
    config = SimpleNamespace(max_ongoing_requests=ongoing(settings))
    names = {"app_name": "compass", "deployment": "worker", "replica_tag": "1"}
    context = SimpleNamespace(_deployment_config=config, **names)
    monkeypatch.setattr(serve_context, "_INTERNAL_REPLICA_CONTEXT", context)
    made = replica_module.Replica(settings, "tests.service.cluster.test_replica:CountedTasks")
    await made.check_health()
    yield made
    made._heeding.cancel()
    await made._store.close()


async def kept(replica: object, store: Store, number: int) -> Record:
    """A picture that the replica has coded, in the store."""
    data = encoded(photo(96, 64, seed=number), "PNG")
    coded = await replica.upload(Upload(f"upload:{number}", data, 75, Ladder((48,))))  # type: ignore[attr-defined]
    assert isinstance(coded, Uploaded)
    record = Record("abcdefgh"[number] * 32, read_header(coded.stream), FACTS)
    return await store.put(record, coded.stream, ())


def plan(record: Record, width: int = 40) -> RenderPlan:
    return RenderPlan(record.id, stream_name(record.header), 0, Size(width * 2 // 3, width), "png", 100)


async def test_answers_are_those_of_the_tasks_and_tell_what_was_read(replica, store: Store) -> None:
    record = await kept(replica, store, 0)
    rendered = await replica.carry_out(plan(record))
    prefix = await store.prefix(record, 0)
    right = Tasks(Settings(device="cpu").for_worker).render(Render(plan(record), prefix))
    assert rendered.body == right.body
    assert rendered.bytes_read == len(prefix)
    assert "fetch" in rendered.seconds


async def test_what_comes_together_is_one_batch_on_a_gpu_and_none_on_a_core(replica, store: Store) -> None:
    records = [await kept(replica, store, number) for number in range(4)]
    CountedTasks.batches.clear()
    found = await asyncio.gather(*(replica.carry_out(plan(record)) for record in records))
    assert all(isinstance(one, Rendered) for one in found)
    assert sum(CountedTasks.batches) == 4
    assert (max(CountedTasks.batches) > 1) == replica._in_batches
    alone = [await replica.carry_out(plan(record)) for record in records]
    assert [one.body for one in alone] == [one.body for one in found]


async def test_one_damaged_picture_fails_alone(replica, store: Store, raw) -> None:
    records = [await kept(replica, store, number) for number in range(3)]
    end = records[1].header.layers[0].end
    await raw.setrange(f"{{{records[1].id}}}:stream", end - 3, b"\xff\x00\xff")
    found = await asyncio.gather(*(replica.carry_out(plan(record)) for record in records))
    assert [type(one) for one in found] == [Rendered, Failure, Rendered]
    assert found[1].error == "DamagedStream"


async def test_a_stream_that_is_another_one_by_now_is_told(replica, store: Store) -> None:
    record = await kept(replica, store, 0)
    old = RenderPlan(record.id, "another stream", 0, Size(20, 30), "png", 100)
    failure = await replica.carry_out(old)
    assert (failure.error, failure.number) == ("Replaced", 0)
    await store.delete(record.id)
    failure = await replica.carry_out(plan(record))
    assert failure.error in ("Replaced", "NotFound")


async def test_bad_uploads_are_failures_and_raise_nothing(replica) -> None:
    failure = await replica.upload(Upload("upload:x", b"no picture", 75, Ladder((48,))))
    assert (type(failure), failure.error) == (Failure, "UnsupportedPicture")


async def test_it_hears_of_deletions_itself(replica, store: Store) -> None:
    record = await kept(replica, store, 0)
    await asyncio.sleep(0.2)
    await store.delete(record.id)
    await until(lambda: frozenset({record.id}) in CountedTasks.forgotten)
