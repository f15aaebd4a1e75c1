"""Who may wait, and who is next: lanes with shares, priced by measured speed. No processes, no clock.

A job enters one of three lanes: ``light`` and ``heavy`` renderings, and ``upload``. Each lane has

- a share: a lane that waits gets at least that part of the workers' time;
- its own measured speed, which turns the cost of a job into expected seconds;
- an order: arrival plus some times the expected seconds, so that short jobs overtake long ones,
  but nobody is overtaken for ever.

Heavy jobs and uploads together leave one slot to light renderings, so that a thumbnail never waits
for a 50-megapixel picture (unless there is only one slot).
"""

import math
from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass, field

from service.engine.ticket import LaneName, Ticket
from service.errors import Overloaded
from service.settings import Settings

HEAVY_COST = 8_000_000
"""A rendering of at least this cost (see :mod:`service.planning.cost`) is heavy."""
OVERTAKING = 4.0
"""A job waits in line as if it had come this many times its expected seconds later."""
INFLUENCE = 4.0
"""A job that took so many times longer or shorter than expected says no more than that."""
CONFIDENCE = 0.8
"""A job is let in if it is expected to be done in this part of its time allowed."""


class Speed:
    """Cost done a second by one slot: an average over about the last 20 jobs.

    One job alone changes little, however slow it was: it counts for at most ``INFLUENCE`` times what was
    expected of it.
    """

    def __init__(self, guess: float) -> None:
        self._cost = guess
        self._seconds = 1.0
        self.measured = False

    def add(self, cost: float, seconds: float) -> None:
        """A job of this cost took so many seconds; from now on this is more than a guess."""
        expected = self.seconds(cost)
        seconds = min(max(seconds, expected / INFLUENCE), expected * INFLUENCE)
        self._cost = 0.95 * self._cost + cost
        self._seconds = 0.95 * self._seconds + seconds
        self.measured = True

    def seconds(self, cost: float) -> float:
        """Expected seconds of a job of this cost."""
        return cost * self._seconds / self._cost


def rendering_lane(cost: float) -> LaneName:
    """The lane of a rendering of this cost (pixels to decode)."""
    return "heavy" if cost >= HEAVY_COST else "light"


@dataclass
class Lane:
    """A line of waiting jobs. ``clock`` is the time it has had, in seconds divided by its share."""

    share: float
    room: int
    slots: int
    speed: Speed
    waiting: list[Ticket] = field(default_factory=list)
    running: list[Ticket] = field(default_factory=list)
    clock: float = 0.0

    @property
    def active(self) -> bool:
        """True while a job waits or runs."""
        return bool(self.waiting or self.running)


class Admission:
    """The lanes of a pool with so many slots (jobs running at the same time)."""

    def __init__(self, settings: Settings, slots: int) -> None:
        self._slots = slots
        self._unreserved = max(1, slots - 1)
        self.lanes: dict[LaneName, Lane] = {
            "light": Lane(6, settings.read_queue, slots, Speed(1e6)),
            "heavy": Lane(2, max(1, settings.read_queue // 4), self._unreserved, Speed(1e6)),
            "upload": Lane(2, settings.upload_queue, max(1, slots // 2), Speed(1e6)),
        }

    def check(self, name: LaneName, cost: float, now: float, deadline: float) -> None:
        """Raises Overloaded if there is no room in a lane, or no hope that a job of this cost be done
        in time; ``retry_after`` is when the work that now waits there will be done.
        """
        lane = self.lanes[name]
        own = lane.speed.seconds(cost)
        late = self._wait(lane, self._rank(lane, cost, now), now) + own > CONFIDENCE * (deadline - now)
        # Nobody is refused by a guess, nor where nobody waits: a worker may start at once.
        if len(lane.waiting) >= lane.room or (late and lane.waiting and lane.speed.measured):
            everybody = self._wait(lane, math.inf, now)
            raise Overloaded(f"{len(lane.waiting)} jobs wait already", retry_after=max(1.0, everybody))

    def enter(self, ticket: Ticket) -> None:
        """Put a job in its line; :meth:`check` comes before, except for one whose worker has ended: that
        goes back to where it was, and there is always room for it.
        """
        lane = self.lanes[ticket.lane]
        ticket.line_up(self._rank(lane, ticket.cost, ticket.arrived))
        if not lane.active:  # time not used while away is not owed
            others = [other.clock for other in self.lanes.values() if other.active]
            lane.clock = max([lane.clock, *([min(others)] if others else [])])
        insort(lane.waiting, ticket, key=lambda waiting: waiting.rank)

    def leave(self, ticket: Ticket) -> None:
        """Take a job out of its line, if it waits there."""
        lane = self.lanes[ticket.lane]
        if ticket in lane.waiting:
            lane.waiting.remove(ticket)

    def take(
        self, now: float, handicap: Callable[[Ticket], float], only: LaneName | None = None
    ) -> Ticket | None:
        """The next job to run, moved from waiting to running; None if there is none.

        ``handicap`` gives seconds by which a job stands further back in line for the asking worker,
        infinite if that worker must not have it. ``only`` limits the choice to one lane.
        """
        names = [only] if only else sorted(self.lanes, key=lambda name: self.lanes[name].clock)
        for lane in (self.lanes[name] for name in names):
            if not self._may_run(lane):
                continue
            rank, ticket = min(
                ((ticket.rank + handicap(ticket), ticket) for ticket in lane.waiting),
                key=lambda ranked: ranked[0],
                default=(math.inf, None),
            )
            if ticket is None or rank == math.inf:
                continue
            lane.waiting.remove(ticket)
            lane.running.append(ticket)
            lane.clock += lane.speed.seconds(ticket.cost) / lane.share
            ticket.begin(now)
            return ticket
        return None

    def finish(self, ticket: Ticket, seconds: float | None) -> None:
        """A running job has ended after so many seconds of a slot; None if it was not done."""
        lane = self.lanes[ticket.lane]
        lane.running.remove(ticket)
        if seconds is not None:
            lane.speed.add(ticket.cost, seconds)

    @staticmethod
    def _rank(lane: Lane, cost: float, arrived: float) -> float:
        return arrived + OVERTAKING * lane.speed.seconds(cost)

    def _may_run(self, lane: Lane) -> bool:
        if lane is self.lanes["light"]:
            return True
        reserved_for_light = self._running("heavy") + self._running("upload") >= self._unreserved
        return len(lane.running) < lane.slots and not reserved_for_light

    def _running(self, name: LaneName) -> int:
        return len(self.lanes[name].running)

    def _wait(self, lane: Lane, rank: float, now: float) -> float:
        """Expected seconds until the jobs of a lane with a smaller rank have left it."""
        ahead = sum(lane.speed.seconds(other.cost) for other in lane.waiting if other.rank <= rank)
        for other in lane.running:
            ahead += max(0.0, lane.speed.seconds(other.cost) - (now - other.started))
        shares = sum(other.share for other in self.lanes.values() if other.active or other is lane)
        return ahead / min(lane.slots, self._slots * lane.share / shares)
