"""Which worker gets which job: where its layers are kept, in batches, retries alone and elsewhere."""

import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from cachetools import LRUCache

from service.engine.admission import Admission
from service.engine.link import WorkerLink
from service.engine.ticket import Ticket

PATIENCE_SECONDS = 0.25
"""So much further back in line stands a picture whose layers are held by another, busy worker."""
BATCH_COST = 32_000_000
"""A batch is closed when its cost (pixels to decode) reaches this."""
MAX_HOMES = 10_000


class Dispatcher:
    """Moves jobs from the lines of ``admission`` to free workers; ``links`` are those that run, by place.

    At most ``crew`` of them get work, those that live longest; the others are spare: when one of the crew
    ends, the next is ready. A picture's home is the worker that decoded it last and so keeps its layers.
    """

    def __init__(self, admission: Admission, links: Mapping[int, WorkerLink], crew: int) -> None:
        self._admission = admission
        self._crew_size = crew
        self._links = links
        self._homes: LRUCache[str, int] = LRUCache(MAX_HOMES)
        self._numbers = itertools.count(1)

    def run(self) -> None:
        """Give waiting jobs to free workers until there are no more of the one or the other."""
        crew = self._crew()
        while free := sorted(self._takers(crew), key=_load):
            if not sum(self._give(link, crew, len(free)) for link in free):
                return

    def _crew(self) -> list[WorkerLink]:
        able = (link for link in self._links.values() if link.able)
        return sorted(able, key=lambda link: link.born)[: self._crew_size]

    def _takers(self, crew: Sequence[WorkerLink]) -> list[WorkerLink]:
        """The workers that may be given jobs: those that are free. But where a job that has to be alone waits
        for one to become idle, which workers with several batches at once never do by themselves, the one
        that has the least to do is given nothing new.
        """
        waiting = itertools.chain.from_iterable(lane.waiting for lane in self._admission.lanes.values())
        retry = next((ticket for ticket in waiting if ticket.attempts), None)
        free = [link for link in crew if link.free]
        if retry is None:
            return free
        elsewhere = [link for link in crew if link.place.index != retry.avoid] or crew
        chosen = min(elsewhere, key=_load, default=None)
        return [link for link in free if link is not chosen or not link.running]

    def _give(self, link: WorkerLink, crew: Sequence[WorkerLink], sharers: int) -> bool:
        if not link.free:
            return False
        now = time.monotonic()
        handicap = partial(self._handicap, link, crew)
        first = self._admission.take(now, handicap)
        if first is None:
            return False
        batch = [first]
        if first.lane == "light" and first.attempts == 1:
            waiting = len(self._admission.lanes["light"].waiting)
            size = min(link.place.batch, math.ceil((1 + waiting) / sharers))
            cost = first.cost
            while len(batch) < size and cost < BATCH_COST:
                more = self._admission.take(now, partial(self._untried, handicap), only="light")
                if more is None:
                    break
                batch.append(more)
                cost += more.cost
        for ticket in batch:
            ticket.share(len(batch))
            self._remember_home(ticket, link.place.index)
        link.send({next(self._numbers): ticket for ticket in batch})
        return True

    def _handicap(self, link: WorkerLink, crew: Sequence[WorkerLink], ticket: Ticket) -> float:
        """Seconds by which a job stands further back for this worker; infinite: not for it."""
        if ticket.attempts:  # its last worker ended: elsewhere, and alone, to see whose fault it was
            others = any(other is not link for other in crew)
            return math.inf if link.running or (others and ticket.avoid == link.place.index) else 0.0
        home = self._homes.get(ticket.key)
        if home is None or home == link.place.index:
            return 0.0
        holder = self._links.get(home)
        if holder is not None and holder.free and holder in crew:
            return math.inf
        return PATIENCE_SECONDS

    def _untried(self, handicap: Callable[[Ticket], float], ticket: Ticket) -> float:
        return math.inf if ticket.attempts else handicap(ticket)

    def _remember_home(self, ticket: Ticket, index: int) -> None:
        if ticket.lane != "upload":  # that leaves no layers behind
            self._homes[ticket.key] = index


def _load(link: WorkerLink) -> int:
    return len(link.running)
