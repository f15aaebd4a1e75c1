"""A job's way: what it remembers, and that it ends once."""

import pytest

from model.stream.ladder import Ladder
from service.engine.ticket import LaneName, Ticket
from service.errors import WorkerFailed
from service.messages.jobs import Rendered, Upload
from tests.service.jobs import rendering

RESULT = Rendered(b"", "image/png", 1, 1, 1)


def ticket(lane: LaneName = "light") -> Ticket:
    job = Upload("key", b"", 55, Ladder((1,))) if lane == "upload" else rendering("key", b"", 2, (1, 1))
    return Ticket(job, lane, 1.0, arrived=10.0, deadline=40.0)


async def test_what_it_is_about() -> None:
    assert (ticket().key, ticket().layer, ticket().allowed) == ("key stream", 2, 30.0)
    assert (ticket("upload").layer, ticket("upload").repeatable) == (0, False)
    assert ticket("heavy").repeatable


async def test_it_counts_its_workers_and_forgets_the_last_batch() -> None:
    one = ticket()
    one.begin(11.0)
    one.share(5)
    one.try_elsewhere(3)
    assert (one.started, one.attempts, one.batch, one.avoid) == (11.0, 1, 5, 3)
    one.begin(12.0)
    assert (one.started, one.attempts, one.batch) == (12.0, 2, 1)


async def test_it_ends_once() -> None:
    done, failed, left = ticket(), ticket(), ticket()
    done.resolve(RESULT)
    done.fail(WorkerFailed("too late"))
    assert await done.answer == RESULT
    failed.fail(WorkerFailed("first"))
    failed.resolve(RESULT)
    with pytest.raises(WorkerFailed, match="first"):
        await failed.answer
    left.answer.cancel()
    left.resolve(RESULT)
    assert left.answer.cancelled()
