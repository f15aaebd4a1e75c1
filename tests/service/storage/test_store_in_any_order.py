"""The store against a plain model of it: put, extend, delete and expire in any order, on a real Valkey."""

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
from service.storage.records import Facts, Record
from service.storage.store import INDEX, Store
from service.storage.valkey import EmbeddedValkey

LAYERS = [CodedLayer(64, 48, 75, b"hyper", [b"a" * 10]), CodedLayer(128, 96, 75, b"hyper", [b"b" * 40])]
STREAM = write(b"model-id", 256, LAYERS)
PLANES = (b"plane 0", b"plane 01")
NAMES = ("a" * 32, "b" * 32)
PICTURES = st.sampled_from(NAMES)
LIVES = st.sampled_from([None, 1000.0, 2000.0])
SHORT_LIFE = 0.05

T = TypeVar("T")


@dataclass
class Life:
    """What the model knows of a stored picture; ``expires`` is None for one that lives for ever."""

    created: float
    expires: float | None


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
        self.stores = [self.wait(self.open()) for _ in range(2)]
        self.raw.flushall()

    async def open(self) -> Store:
        return Store(self.url, Settings(), Metrics())

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        for store in self.stores:
            self.wait(store.close())

    @rule(picture=PICTURES, service=st.integers(0, 1), life=LIVES, age=st.integers(0, 3))
    def put(self, picture: str, service: int, life: float | None, age: int) -> None:
        expires = None if life is None else self.start + life
        facts = Facts(1000.0 + age, 9, "PNG", 75, alpha=(7, 8), expires=expires)
        self.wait(self.stores[service].put(Record(picture, read_header(STREAM), facts), STREAM, PLANES))
        known = self.lives.get(picture)
        if known is not None:
            self.lives[picture] = Life(known.created, later(known.expires, expires))
        else:
            self.lives[picture] = Life(facts.created, expires)

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

    @precondition(lambda self: len(self.lives) < len(NAMES))
    @rule(service=st.integers(0, 1), age=st.integers(0, 3))
    def live_shortly(self, service: int, age: int) -> None:
        """A picture that is not there cannot be deleted; then it is put, lives shortly, and is gone."""
        picture = next(name for name in NAMES if name not in self.lives)
        with pytest.raises(NotFound):
            self.wait(self.stores[service].delete(picture))
        facts = Facts(1000.0 + age, 9, "PNG", 75, alpha=(7, 8), expires=time.time() + SHORT_LIFE)
        self.wait(self.stores[service].put(Record(picture, read_header(STREAM), facts), STREAM, PLANES))
        time.sleep(2 * SHORT_LIFE)

    @rule(service=st.integers(0, 1))
    def prune(self, service: int) -> None:
        self.wait(self.stores[service].prune())
        assert self.raw.zcard(INDEX) == len(self.lives)

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
                assert self.wait(store.prefix(record, 1)) == STREAM
                assert [self.wait(store.alpha(record, k)) for k in range(2)] == list(PLANES)

    @invariant()
    def the_listing_is_complete_and_newest_first(self) -> None:
        right = sorted(((life.created, name) for name, life in self.lives.items()), reverse=True)
        for store in self.stores:
            records, cursor = self.wait(store.page(None, 10))
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
