"""Which worker gets which job, with workers that only remember what they were given."""

import time
from collections.abc import Mapping
from typing import Any, cast

import pytest

from model.stream.ladder import Ladder
from service.engine.admission import Admission, rendering_lane
from service.engine.devices import Place
from service.engine.dispatch import BATCH_COST, Dispatcher
from service.engine.ticket import Ticket
from service.messages.jobs import Upload
from service.settings import Settings
from tests.service.jobs import rendering

SMALL = 100_000.0


class Worker:
    """What the dispatcher sees of a WorkerLink."""

    def __init__(self, index: int, born: float = 0.0, batch: int = 1) -> None:
        self.place = Place(index, {}, pipelines=1, batch=batch)
        self.born = born
        self.able = True
        self.running: dict[int, Ticket] = {}
        self.given: list[list[str]] = []

    @property
    def free(self) -> bool:
        """It takes one batch at a time."""
        return self.able and not self.running

    def send(self, tickets: Mapping[int, Ticket]) -> None:
        """Remember the keys of a batch."""
        self.running.update(tickets)
        self.given.append([ticket.key.removesuffix(" stream") for ticket in tickets.values()])


class Crew:
    """A dispatcher, its lines and its workers; jobs end when the test says so."""

    def __init__(self, *workers: Worker, crew: int | None = None) -> None:
        self.workers = {worker.place.index: worker for worker in workers}
        self.admission = Admission(Settings(), len(workers))
        links = cast(Any, self.workers)
        self.dispatcher = Dispatcher(self.admission, links, crew or len(workers))

    def ask(self, key: str, cost: float = SMALL, upload: bool = False, ago: float = 0.0) -> Ticket:
        """A job comes, ``ago`` seconds before now."""
        job = Upload(key, b"", 55, Ladder((1,))) if upload else rendering(key, b"", 0, (1, 1))
        now = time.monotonic() - ago
        ticket = Ticket(job, "upload" if upload else rendering_lane(cost), cost, now, now + 60)
        self.admission.enter(ticket)
        return ticket

    def done(self, index: int) -> None:
        """All jobs of a worker are done."""
        for ticket in self.workers[index].running.values():
            self.admission.finish(ticket, 0.01)
        self.workers[index].running.clear()

    def run(self) -> list[list[list[str]]]:
        """Give out what waits; returns the batches of each worker so far, by place."""
        self.dispatcher.run()
        return [worker.given for worker in self.workers.values()]


async def test_a_picture_goes_back_to_the_worker_that_holds_its_layers() -> None:
    crew = Crew(Worker(0), Worker(1))
    crew.ask("a")
    crew.ask("b")
    assert crew.run() == [[["a"]], [["b"]]]
    crew.done(0)
    crew.done(1)
    crew.ask("b")
    assert crew.run() == [[["a"]], [["b"], ["b"]]]
    crew.ask("a")
    assert crew.run() == [[["a"], ["a"]], [["b"], ["b"]]]


async def test_a_picture_whose_worker_is_busy_waits_only_a_little_behind_others() -> None:
    crew = Crew(Worker(0), Worker(1))
    crew.ask("a")
    crew.run()  # worker 0 holds a and is busy
    crew.ask("a", ago=0.1)
    crew.ask("new")
    assert crew.run() == [[["a"]], [["new"]]]
    crew.done(1)
    assert crew.run() == [[["a"]], [["new"], ["a"]]]


async def test_an_upload_leaves_no_layers_behind() -> None:
    crew = Crew(Worker(0), Worker(1))
    crew.ask("a", upload=True)
    crew.run()
    crew.ask("a")
    assert crew.run() == [[["a"]], [["a"]]]


async def test_the_youngest_worker_is_spare_until_another_ends() -> None:
    crew = Crew(Worker(0, born=2.0), Worker(1, born=1.0), crew=1)
    crew.ask("a")
    crew.ask("b")
    assert crew.run() == [[], [["a"]]]
    crew.workers[1].able = False
    assert crew.run() == [[["b"]], [["a"]]]


async def test_a_worker_leaves_their_share_of_what_waits_to_the_other_free_ones() -> None:
    crew = Crew(Worker(0, batch=8), Worker(1, batch=8))
    for number in range(6):
        crew.ask(str(number))
    first, second = crew.run()
    assert len(first[0]) == 3
    assert second
    assert {ticket.batch for ticket in crew.workers[0].running.values()} == {3}


async def test_a_batch_is_bounded_by_its_cost() -> None:
    crew = Crew(Worker(0, batch=16))
    for number in range(16):
        crew.ask(str(number), BATCH_COST / 5)
    assert [len(batch) for batch in crew.run()[0]] == [5]


@pytest.mark.parametrize("others", [True, False])
async def test_a_job_that_was_tried_before_runs_alone_and_elsewhere_if_there_is_another(others: bool) -> None:
    crew = Crew(Worker(0, batch=8), *([Worker(1, batch=8)] if others else []))
    bad = crew.ask("bad")
    crew.run()
    crew.done(0)
    bad.try_elsewhere(0)
    crew.admission.enter(bad)
    crew.ask("good")
    crew.ask("other")
    given = crew.run()
    assert given[1 if others else 0][0 if others else 1] == ["bad"]


class Cuda(Worker):
    """Takes a second batch while the first one runs, as a worker on a GPU does."""

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.place = Place(index, {}, pipelines=2, batch=1)

    @property
    def free(self) -> bool:
        """It takes two, but none beside a job that has to be alone."""
        alone = any(ticket.attempts > 1 for ticket in self.running.values())
        return self.able and not alone and len(self.running) < 2


async def test_a_job_that_has_to_be_alone_does_not_wait_for_ever_for_an_idle_worker() -> None:
    """Under steady load a worker with two batches at once is never idle by itself."""
    crew = Crew(Cuda(0), Cuda(1))
    retry = crew.ask("bad", ago=5.0)
    crew.run()
    (ended,) = (worker for worker in crew.workers.values() if worker.running)
    crew.admission.finish(retry, None)
    ended.running.clear()
    for number in range(20):
        crew.ask(f"before {number}")
    crew.run()
    retry.try_elsewhere(ended.place.index)
    crew.admission.enter(retry)
    for number in range(50):
        crew.ask(f"a{number}")
        crew.ask(f"b{number}")
        for worker in crew.workers.values():  # one job of each worker ends
            if worker.running:
                crew.admission.finish(worker.running.pop(next(iter(worker.running))), 0.01)
        crew.run()
        if retry.attempts == 2:
            break
    other = crew.workers[1 - ended.place.index]
    assert other.given[-1] == ["bad"]
    assert list(other.running.values()) == [retry]
    assert len(ended.running) == 2  # which went on all the time
