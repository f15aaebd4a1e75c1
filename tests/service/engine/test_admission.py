"""Lanes: who may wait, who is next. Time is a number here, so nothing depends on the machine."""

import math

import pytest

from model.stream.ladder import Ladder
from service.engine.admission import HEAVY_COST, Admission, rendering_lane
from service.engine.ticket import LaneName, Ticket
from service.errors import Overloaded
from service.messages.jobs import Upload
from service.settings import Settings
from tests.service.jobs import rendering

SMALL = 100_000.0
LARGE = 50_000_000.0
RENDER = rendering("key", b"", 0, (1, 1), "png", 1)
UPLOAD = Upload("key", b"", 75, Ladder((1,)))


@pytest.fixture
def settings() -> Settings:
    return Settings(read_queue=8, upload_queue=4, read_deadline=30)


def ticket(cost: float = SMALL, arrived: float = 0.0, upload: bool = False, allowed: float = 1e9) -> Ticket:
    lane = "upload" if upload else rendering_lane(cost)
    return Ticket(UPLOAD if upload else RENDER, lane, cost, arrived, arrived + allowed)


def offer(admission: Admission, one: Ticket) -> None:
    """Let a job in if it may."""
    admission.check(one.lane, one.cost, one.arrived, one.deadline)
    admission.enter(one)


def take(admission: Admission, now: float = 0.0) -> Ticket | None:
    return admission.take(now, lambda _: 0.0)


def test_renderings_go_by_their_cost() -> None:
    assert rendering_lane(HEAVY_COST) == "heavy"
    assert rendering_lane(HEAVY_COST - 1) == "light"


async def test_equal_jobs_are_served_in_order_of_arrival(settings: Settings) -> None:
    admission = Admission(settings, slots=1)
    tickets = [ticket(arrived=float(n)) for n in range(5)]
    for one in tickets:
        offer(admission, one)
    assert [take(admission, 5.0) for _ in tickets] == tickets
    assert take(admission) is None


async def test_a_short_job_overtakes_a_long_one_but_not_for_ever(settings: Settings) -> None:
    admission = Admission(settings, slots=1)
    long = ticket(5_000_000, arrived=0.0)  # at the first guess, 5 s
    soon, late = ticket(arrived=1.0), ticket(arrived=30.0)
    for one in (long, soon, late):
        offer(admission, one)
    assert [take(admission) for _ in range(3)] == [soon, long, late]


async def test_a_full_queue_refuses_at_once_and_says_for_how_long(settings: Settings) -> None:
    admission = Admission(settings, slots=2)
    for _ in range(8):
        offer(admission, ticket(1_000_000))
    with pytest.raises(Overloaded) as refused:
        offer(admission, ticket(1_000_000))
    assert refused.value.retry_after == pytest.approx(4.0)  # 8 jobs of 1 s on 2 slots
    offer(admission, ticket(1_000_000, upload=True))  # the other lanes have room of their own
    offer(admission, ticket(LARGE))


async def test_the_wait_it_tells_follows_the_measured_speed(settings: Settings) -> None:
    admission = Admission(settings, slots=1)
    for _ in range(200):  # the workers turn out to be ten times faster than the first guess
        one = ticket(1_000_000)
        offer(admission, one)
        assert take(admission) is one
        admission.finish(one, 0.1)
    for _ in range(8):
        offer(admission, ticket(10_000_000 - 2_100_000))
    with pytest.raises(Overloaded) as refused:
        offer(admission, ticket(SMALL, arrived=1e6))
    assert refused.value.retry_after == pytest.approx(8 * 0.79, rel=0.01)


async def test_what_cannot_be_done_in_time_is_refused_though_there_is_room(settings: Settings) -> None:
    admission = Admission(settings, slots=1)
    for _ in range(4):
        offer(admission, ticket(5_000_000))  # 5 s each
    offer(admission, ticket(5_000_000, allowed=1))  # as long as that is but a guess
    one = take(admission)
    assert one is not None
    admission.finish(one, 5.0)
    offer(admission, ticket(5_000_000, allowed=40))
    with pytest.raises(Overloaded):
        offer(admission, ticket(5_000_000, allowed=30))


async def test_an_idle_worker_is_given_even_what_seems_hopeless(settings: Settings) -> None:
    admission = Admission(settings, slots=1)
    only = ticket(LARGE, allowed=1)
    offer(admission, only)
    assert take(admission) is only


async def test_heavy_jobs_and_uploads_leave_a_slot_to_light_ones(settings: Settings) -> None:
    admission = Admission(settings, slots=3)
    for _ in range(2):
        offer(admission, ticket(LARGE))
        offer(admission, ticket(SMALL, upload=True))
    running = [one for one in (take(admission) for _ in range(3)) if one]
    assert len(running) == 2
    small = ticket(SMALL)
    offer(admission, small)
    assert take(admission) is small


async def test_a_pool_of_one_slot_serves_every_lane(settings: Settings) -> None:
    admission = Admission(settings, slots=1)
    for one in (ticket(LARGE), ticket(SMALL), ticket(SMALL, upload=True)):
        offer(admission, one)
    lanes: list[LaneName] = []
    while (taken := take(admission)) is not None:
        lanes.append(taken.lane)
        admission.finish(taken, 1.0)
    assert sorted(lanes) == ["heavy", "light", "upload"]


async def test_under_full_load_each_lane_gets_its_share_of_time(settings: Settings) -> None:
    admission = Admission(settings, slots=1)
    seconds = dict.fromkeys(admission.lanes, 0.0)
    now = 0.0
    while now < 2000:
        for lane, cost, upload in (("light", 1e6, False), ("heavy", 1e7, False), ("upload", 5e6, True)):
            while len(admission.lanes[lane].waiting) < 2:  # type: ignore[index]
                offer(admission, ticket(cost, now, upload))
        one = take(admission, now)
        assert one is not None
        took = one.cost / 1e6
        now += took
        seconds[one.lane] += took
        admission.finish(one, took)
    assert seconds["light"] / now == pytest.approx(0.6, abs=0.03)
    assert seconds["heavy"] / now == pytest.approx(0.2, abs=0.03)
    assert seconds["upload"] / now == pytest.approx(0.2, abs=0.03)


async def test_a_lane_that_was_empty_is_not_owed_the_time_it_missed(settings: Settings) -> None:
    admission = Admission(settings, slots=1)
    for n in range(100):
        offer(admission, ticket(1e6, float(n)))
        one = take(admission, float(n))
        assert one is not None
        admission.finish(one, 1.0)
    offer(admission, ticket(1e6, 100.0))
    for _ in range(4):
        offer(admission, ticket(1e6, 100.0, upload=True))
    lanes = []
    for _ in range(2):
        following = take(admission, 100.0)
        assert following is not None
        lanes.append(following.lane)
        admission.finish(following, 1.0)
    assert "light" in lanes


async def test_a_worker_takes_by_its_own_preference_within_limits(settings: Settings) -> None:
    admission = Admission(settings, slots=2)
    first, second = ticket(arrived=0.0), ticket(arrived=0.1)
    offer(admission, first)
    offer(admission, second)
    assert admission.take(1.0, lambda one: 0.25 if one is first else 0.0) is second
    admission.finish(second, None)
    much_later = ticket(arrived=9.0)
    offer(admission, much_later)
    assert admission.take(9.0, lambda one: 0.25 if one is first else 0.0) is first
    assert admission.take(9.0, lambda _: math.inf) is None


async def test_a_job_that_left_is_not_taken_and_frees_its_place(settings: Settings) -> None:
    admission = Admission(settings, slots=1)
    tickets = [ticket() for _ in range(8)]
    for one in tickets:
        offer(admission, one)
    admission.leave(tickets[0])
    admission.leave(tickets[0])
    offer(admission, ticket(arrived=1.0))
    assert take(admission) is tickets[1]


async def test_a_job_whose_worker_ended_comes_back_to_its_place_in_line(settings: Settings) -> None:
    admission = Admission(settings, slots=2)
    tickets = [ticket(arrived=float(n)) for n in range(8)]
    for one in tickets:
        offer(admission, one)
    assert take(admission) is tickets[0]
    offer(admission, ticket(arrived=9.0))  # the queue is full again
    admission.finish(tickets[0], None)
    admission.enter(tickets[0])
    assert take(admission) is tickets[0]


async def test_one_slow_tiny_upload_does_not_close_the_line(settings: Settings) -> None:
    """A few bytes that kept a worker busy for minutes say little about honest pictures."""
    admission = Admission(Settings(upload_queue=24), slots=2)
    for _ in range(3):
        tiny = ticket(300.0, upload=True)
        offer(admission, tiny)
        assert take(admission) is tiny
        admission.finish(tiny, 267.0)
    for _ in range(24):
        offer(admission, ticket(2_000_000, upload=True, allowed=600))
