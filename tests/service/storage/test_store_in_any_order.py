"""The store against a plain model: put, extend, refine, delete, expire in any order, on a real Valkey."""

import asyncio
import tempfile
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
import redis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from model.stream.container import CodedLayer, read_header, write
from service.errors import NotFound
from service.metrics import Metrics
from service.settings import Settings
from service.storage.listing import KEYS
from service.storage.records import Facts, Record
from service.storage.store import Store
from service.storage.valkey import EmbeddedValkey
from service.storage.waiting import Taken

LAYERS = [CodedLayer(64, 48, 75, b"hyper", [b"a" * 10]), CodedLayer(128, 96, 75, b"hyper", [b"b" * 40])]
STREAM = write(b"model-id", 256, LAYERS)
SMALLER = write(b"model-id", 256, [LAYERS[0], CodedLayer(128, 96, 75, b"hyper", [b"c" * 30])])
UPLOAD = b"the upload's own bytes"
PLANES = (b"plane 0", b"plane 01")
NAMES = ("a" * 32, "b" * 32)
PICTURES = st.sampled_from(NAMES)
LIVES = st.sampled_from([None, 1000.0, 2000.0])
SHORT_LIFE = 0.05

T = TypeVar("T")


@dataclass
class Life:
    """What the model knows of a stored picture; ``expires`` is None for one that lives for ever.

    ``waits`` tells whether it is to be refined, ``holder`` who has taken it, and ``refined`` whether somebody
    has searched for a smaller stream.
    """

    created: float
    expires: float | None
    stream: bytes = STREAM
    waits: bool = False
    holder: Taken | None = None
    refined: bool = False


def later(one: float | None, other: float | None) -> float | None:
    """The later of two ends, of which None is the last."""
    return None if one is None or other is None else max(one, other)


class StoreInAnyOrder(RuleBasedStateMachine):
    """Two services on one server do what they like; both must see what the model says."""

    loop: asyncio.AbstractEventLoop
    url: str
    raw: redis.Redis

    def __init__(self) -> None:
        super().__init__()
        self.start = time.time()
        self.lives: dict[str, Life] = {}
        self.taken: list[tuple[Taken, Record]] = []
        self.stores = [self.wait(self.open()) for _ in range(2)]
        self.raw.flushall()

    async def open(self) -> Store:
        return Store(self.url, Settings(), Metrics())

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        for store in self.stores:
            self.wait(store.close())

    @rule(picture=PICTURES, service=st.integers(0, 1), life=LIVES, age=st.integers(0, 3), waits=st.booleans())
    def put(self, picture: str, service: int, life: float | None, age: int, waits: bool) -> None:
        expires = None if life is None else self.start + life
        facts = Facts(1000.0 + age, 9, "PNG", 75, alpha=(7, 8), expires=expires)
        record = Record(picture, read_header(STREAM), facts)
        self.wait(self.stores[service].put(record, STREAM, PLANES, UPLOAD if waits else None))
        known = self.lives.get(picture)
        if known is None:
            self.lives[picture] = Life(facts.created, expires, waits=waits)
            return
        known.expires, known.stream, known.refined = later(known.expires, expires), STREAM, False
        if waits:
            known.waits, known.holder = True, None

    @precondition(lambda self: self.lives)
    @rule(data=st.data(), service=st.integers(0, 1), life=LIVES)
    def extend(self, data: st.DataObject, service: int, life: float | None) -> None:
        picture = data.draw(st.sampled_from(sorted(self.lives)))
        expires = None if life is None else self.start + life
        known = self.lives[picture]
        record = self.wait(self.stores[service].record(picture, fresh=True))
        extended = self.wait(self.stores[service].extend(record, expires))
        known.expires = later(known.expires, expires)
        assert extended is not None
        assert extended.facts.expires == known.expires

    @precondition(lambda self: self.lives)
    @rule(data=st.data(), service=st.integers(0, 1))
    def delete(self, data: st.DataObject, service: int) -> None:
        picture = data.draw(st.sampled_from(sorted(self.lives)))
        del self.lives[picture]
        self.wait(self.stores[service].delete(picture))

    @rule(service=st.integers(0, 1))
    def take(self, service: int) -> None:
        """One that waits and that nobody holds, if there is one."""
        free = {name for name, life in self.lives.items() if life.waits and life.holder is None}
        taken, given_up = self.wait(self.stores[service].waiting.take())
        assert given_up == 0
        if taken is None:
            assert not free
            return
        assert taken.picture in free
        assert self.wait(self.stores[service].waiting.original(taken)) == UPLOAD
        self.lives[taken.picture].holder = taken
        self.taken.append((taken, self.wait(self.stores[service].record(taken.picture, fresh=True))))

    @precondition(lambda self: self.taken)
    @rule(data=st.data(), service=st.integers(0, 1), smaller=st.booleans())
    def replace(self, data: st.DataObject, service: int, smaller: bool) -> None:
        """It is written if it is still ours, and if what is stored is what we had taken."""
        taken, record = self.taken.pop(data.draw(st.integers(0, len(self.taken) - 1)))
        stream = SMALLER if smaller else None
        written = self.wait(self.stores[service].replace(taken, record, stream, "fast"))
        life = self.lives.get(taken.picture)
        if life is None or life.holder != taken or read_header(life.stream) != record.header:
            assert written is None
            return
        assert written is not None
        life.stream = stream or life.stream
        life.waits, life.holder, life.refined = False, None, True

    @precondition(lambda self: self.taken)
    @rule(data=st.data(), service=st.integers(0, 1), finished=st.booleans())
    def give_back(self, data: st.DataObject, service: int, finished: bool) -> None:
        """It waits again, or no more; if it is still ours."""
        taken, _ = self.taken.pop(data.draw(st.integers(0, len(self.taken) - 1)))
        waiting = self.stores[service].waiting
        self.wait(waiting.finish(taken) if finished else waiting.give_back(taken, untried=True))
        life = self.lives.get(taken.picture)
        if life is not None and life.holder == taken:
            life.waits, life.holder = not finished, None

    @rule(service=st.integers(0, 1))
    def mend(self, service: int) -> None:
        self.wait(self.stores[service].waiting.mend())
        waits = sum(life.waits for life in self.lives.values())
        assert self.wait(self.stores[service].waiting.counts()) == (waits, waits * len(UPLOAD))

    @precondition(lambda self: len(self.lives) < len(NAMES))
    @rule(service=st.integers(0, 1), age=st.integers(0, 3), waits=st.booleans())
    def live_shortly(self, service: int, age: int, waits: bool) -> None:
        """A picture that is not there cannot be deleted; then it is put, lives shortly, and is gone."""
        picture = next(name for name in NAMES if name not in self.lives)
        with pytest.raises(NotFound):
            self.wait(self.stores[service].delete(picture))
        facts = Facts(1000.0 + age, 9, "PNG", 75, alpha=(7, 8), expires=time.time() + SHORT_LIFE)
        record = Record(picture, read_header(STREAM), facts)
        self.wait(self.stores[service].put(record, STREAM, PLANES, UPLOAD if waits else None))
        time.sleep(2 * SHORT_LIFE)

    @rule(service=st.integers(0, 1))
    def prune(self, service: int) -> None:
        self.wait(self.stores[service].catalogue.prune())
        assert sum(map(self.raw.zcard, KEYS)) == len(self.lives)

    @invariant()
    def both_services_know_what_is_there(self) -> None:
        for store in self.stores:
            for picture in NAMES:
                known = self.lives.get(picture)
                if known is None:
                    with pytest.raises(NotFound):
                        self.wait(store.record(picture, fresh=True))
                    continue
                record = self.wait(store.verify(picture))
                assert (record.facts.created, record.facts.expires) == (known.created, known.expires)
                assert self.wait(store.prefix(record, 1)) == known.stream
                assert (record.facts.refined is not None) == known.refined
                assert [self.wait(store.alpha(record, k)) for k in range(2)] == list(PLANES)

    @invariant()
    def the_listing_is_complete_and_newest_first(self) -> None:
        right = sorted(((life.created, name) for name, life in self.lives.items()), reverse=True)
        for store in self.stores:
            records, cursor = self.wait(store.catalogue.page(None, 10))
            assert [(record.facts.created, record.id) for record in records] == right
            assert cursor is None


@pytest.mark.slow
def test_whatever_happens_in_whatever_order() -> None:
    with asyncio.Runner() as runner, tempfile.TemporaryDirectory() as folder:
        server = EmbeddedValkey(Path(folder))
        runner.run(server.start())
        StoreInAnyOrder.loop, StoreInAnyOrder.url = runner.get_loop(), server.url
        StoreInAnyOrder.raw = redis.Redis(unix_socket_path=str(server.socket))
        try:
            run_state_machine_as_test(
                StoreInAnyOrder,
                settings=settings(
                    max_examples=30,
                    stateful_step_count=15,
                    deadline=None,
                    derandomize=True,
                    phases=[Phase.generate],  # what fails is short enough, and waiting for less takes minutes
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            StoreInAnyOrder.raw.close()
            runner.run(server.stop())
