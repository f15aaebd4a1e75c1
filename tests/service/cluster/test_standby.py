"""A worker that stands back, without a cluster around it: it codes as others do, on a thread of low rank."""

import asyncio
import os

import pytest

from model.stream.container import read_header, verify
from model.stream.ladder import Ladder
from service.messages.jobs import Recode, Recoded, Refine, Refined, Upload
from service.messages.protocol import Failure
from service.settings import Settings
from service.worker.tasks import Tasks
from tests.service.samples import encoded, photo

standby = pytest.importorskip("service.cluster.standby")
SETTINGS = Settings(device="cpu")


class RankedTasks(Tasks):
    """The tasks, which note how the kernel schedules them."""

    policy = -1

    def recode(self, job: Recode) -> Recoded:
        RankedTasks.policy = os.sched_getscheduler(0)
        return super().recode(job)


def test_pictures_are_coded_anew_and_bad_ones_are_failures() -> None:
    worker = standby.Standby(SETTINGS, "tests.service.cluster.test_standby:RankedTasks")
    data = encoded(photo(80, 60), "PNG")
    stream = Tasks(SETTINGS.for_worker).upload(Upload("x", data, 70, Ladder((40,)))).stream

    async def work() -> list[object]:
        assert await worker.model_id() == read_header(stream).model_id
        return [
            await worker.recode(Recode("key", data, stream)),
            await worker.recode(Recode("key", b"no picture", stream)),
            await worker.refine(Refine("key", b"no picture", stream, "fast")),
        ]

    coded, bad, unrefined = asyncio.run(work())
    assert isinstance(coded, Recoded)
    verify(coded.stream)
    assert read_header(coded.stream).sizes == read_header(stream).sizes
    assert [type(one) for one in (bad, unrefined)] == [Failure, Failure]
    assert not isinstance(unrefined, Refined)
    assert RankedTasks.policy == os.SCHED_IDLE
    assert os.sched_getscheduler(0) == os.SCHED_OTHER  # nobody else of this process stands back
