"""Stand-ins for the parts behind the routes and behind the pool, for tests of one part in milliseconds.

What they stand for is tested as it is elsewhere: the library by the tests of the running service, the
dispatcher with real worker processes in ``engine/test_pool.py``.
"""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from model.stream.container import CodedLayer, read_header, write
from model.stream.ladder import Ladder
from service.engine.admission import Admission
from service.engine.pool import Pool
from service.engine.ticket import Ticket
from service.errors import NotFound, ServiceError, StoreUnavailable
from service.library import PLAINLY, FinishedOrder, Keeping, Library, Order, Told
from service.messages.jobs import Rendered, Uploaded
from service.metrics import Metrics
from service.planning.identity import picture_id, upload_digest
from service.settings import Settings
from service.storage.catalogue import Catalogue
from service.storage.jobs import JobBoard, JobState
from service.storage.records import Facts, Record
from service.storage.store import Store

MODEL_ID = b"no model"


def stream(*sizes: tuple[int, int], quality: int = 55) -> bytes:
    """A well-formed stream whose layers have these sizes (width, height); its substreams mean nothing."""
    layers = [
        CodedLayer(w, h, quality, b"hyper", [b"tile"] * (-(-w // 256) * -(-h // 256))) for w, h in sizes
    ]
    return write(MODEL_ID, 256, layers)


class Line:
    """Nothing waits to be refined."""

    async def counts(self) -> tuple[int, int]:
        """None, and no bytes."""
        return 0, 0


class Index(Catalogue):
    """The listing of a fake library's pictures."""

    def __init__(self, records: dict[str, Record]) -> None:
        self.records = records

    async def page(self, cursor: str | None, limit: int) -> tuple[list[Record], str | None]:
        """Pictures by age, the youngest first, after ``cursor``."""
        found = sorted(self.records.values(), key=lambda record: record.index_entry, reverse=True)
        found = [record for record in found if cursor is None or record.index_entry < cursor][:limit]
        return found, found[-1].index_entry if len(found) == limit else None


class Shelf(Store):
    """A store that is never connected: it lists the pictures of a fake library, and may be ``down``."""

    def __init__(self, records: dict[str, Record]) -> None:
        self.catalogue = Index(records)
        self.down = False

    async def ping(self) -> None:
        """Raises StoreUnavailable while it is ``down``."""
        if self.down:
            raise StoreUnavailable("the store does not answer")

    @property
    def waiting(self) -> "Line":  # type: ignore[override]
        """Nothing waits."""
        return Line()

    async def last_backup(self) -> float | None:
        """None."""
        return None

    async def memory(self) -> tuple[int, int]:
        """Raises StoreUnavailable while it is ``down``."""
        await self.ping()
        return 1000, 2000


class Board(JobBoard):
    """A board in memory, on which nothing ends by itself; it fails while it is ``down``."""

    def __init__(self) -> None:
        self.told: dict[str, list[JobState]] = {}
        self.down = False

    async def tell(self, job: str, state: JobState) -> None:
        """Remember it. Raises StoreUnavailable while it is ``down``."""
        if self.down:
            raise StoreUnavailable("the store does not answer")
        self.told.setdefault(job, []).append(state)

    async def ask(self, job: str) -> JobState:
        """The last that was told. Raises NotFound."""
        if job not in self.told:
            raise NotFound("no such job")
        return self.told[job][-1]


class Bench(Pool):
    """A pool that never starts a worker, and only says whether one would be ``ready``."""

    ready = True

    def __init__(self) -> None:
        pass


class FakeLibrary(Library):
    """A library without store, workers and caches, whose pictures are made by :meth:`add`.

    It decides what to make of a picture as the real one does; an answer's body is the plan, as JSON.
    ``failure`` is raised by whatever is asked of it next, where it is set. An upload is stored with one
    layer of 60 x 40 pixels, whatever it holds; ``kept`` remembers the keywords of the last one, and
    ``orders`` counts the answers asked for.
    """

    def __init__(self, settings: Settings) -> None:
        self.records: dict[str, Record] = {}
        super().__init__(settings, Shelf(self.records), Bench(), Metrics())
        self.failure: ServiceError | None = None
        self.kept: dict[str, Any] = {}
        self.orders = 0
        self.keeping = Keeping()
        self.gate = asyncio.Event()
        self.gate.set()
        self._answered: dict[str, FinishedOrder] = {}

    def add(self, *sizes: tuple[int, int], data: bytes = b"upload", **facts: Any) -> Record:
        """Have a picture with layers of these sizes; ``facts`` are those that matter to the test."""
        name = picture_id(upload_digest(data), 55, Ladder(tuple(width for width, _ in sizes)), None)
        known = {"created": 1_000_000.0, "source_bytes": len(data), "source_format": "PNG", "quality": 55}
        record = Record(name, read_header(stream(*sizes)), Facts(**{**known, **facts}))
        self.records[name] = record
        return record

    async def keep(
        self,
        data: bytes,
        quality: int | None = None,
        widths: Sequence[int] | None = None,
        max_width: int | None = None,
        ttl: int | None = None,
        told: Told = lambda stage, cost: None,
        keeping: Keeping = PLAINLY,
    ) -> tuple[Record, bool]:
        """Have the upload as a picture, once ``gate`` is open."""
        self._fail()
        told("coding", 1e6)
        await self.gate.wait()
        self._fail()
        told("storing", 0)
        self.kept = {"quality": quality, "widths": widths, "max_width": max_width, "ttl": ttl}
        self.keeping = keeping
        before = len(self.records)
        record = self.add((60, 40), data=data, expires=None if ttl is None else time.time() + ttl)
        return record, len(self.records) > before

    async def find(self, picture: str) -> Record:
        """A picture that is there. Raises NotFound."""
        self._fail()
        if picture not in self.records:
            raise NotFound(f"no picture {picture}")
        return self.records[picture]

    async def forget(self, picture: str) -> None:
        """Have it no longer. Raises NotFound."""
        del self.records[(await self.find(picture)).id]

    def forget_answers(self) -> None:
        """Have no answer in memory any more."""
        self._answered.clear()

    def still_holds(self, order: Order) -> bool:
        """Whether the picture is there as it was."""
        return self.records.get(order.record.id) is order.record

    def in_memory(self, order: Order) -> FinishedOrder | None:
        """The plan, if it was asked for before."""
        return self._answered.get(order.etag)

    async def answer(self, order: Order) -> tuple[FinishedOrder, bool]:
        """The plan instead of a picture; the second time it was in memory."""
        self._fail()
        self.orders += 1
        body = json.dumps(asdict(order.plan)).encode()
        known = order.etag in self._answered
        seconds = {"fetch": 0.001, "queue": 0.002, "encode": 0.003}
        rendered = Rendered(body, order.media_type, *order.plan.size[::-1], order.plan.layer + 1, seconds)
        self._answered[order.etag] = FinishedOrder(rendered, 100, seconds)
        return self._answered[order.etag], known

    def _fail(self) -> None:
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure


class FakeDispatcher:
    """A dispatcher whose workers do nothing: the test itself ends what was begun, in its own order.

    It has the real one's constructor; ``begun`` holds the tickets that would be with a worker, of which
    there are as many as ``crew`` at once.
    """

    def __init__(self, admission: Admission, links: Mapping[int, object], crew: int) -> None:
        self._admission = admission
        self._crew = crew
        self.begun: list[Ticket] = []

    def run(self) -> None:
        """Begin what waits, as far as there are workers."""
        while len(self.begun) < self._crew:
            ticket = self._admission.take(time.monotonic(), lambda _: 0.0)
            if ticket is None:
                return
            self.begun.append(ticket)

    def finish(self, result: Rendered | Uploaded | ServiceError) -> Ticket:
        """End what was begun first, and begin what waits; returns what has ended."""
        ticket = self.begun.pop(0)
        self._admission.finish(ticket, 0.1)
        if isinstance(result, ServiceError):
            ticket.fail(result)
        else:
            ticket.resolve(result)
        self.run()
        return ticket
