"""A service whose Redis fails over: all that was acknowledged is there, no picture is wrong, and all else is
answered 503. It starts, and is ready again, without anybody's help.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis.crc import key_slot

from tests.service.routes.test_images import problem
from tests.service.running import RunningService
from tests.service.samples import encoded, photo
from tests.service.servers import Cluster, Server, Watched, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

REFUSED = 503, "application/problem+json", "no-store"
GOOD = ("uploaded", "right", "listed", "deleted")


@dataclass
class Load:
    """Uploads, readings, listings and deletions, all at once, every answer counted, and compared with the
    picture's first one. ``kept`` are those of the acknowledged that were shown once.
    """

    service: RunningService
    outcomes: Counter[object] = field(default_factory=Counter)
    acknowledged: set[str] = field(default_factory=set)
    kept: dict[str, bytes] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    doubtful: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._done = threading.Event()
        works = (self._upload, self._upload, self._read, self._read, self._list, self._delete)
        self._threads = [threading.Thread(target=work, args=(number,)) for number, work in enumerate(works)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        self.wait_for_more(4)
        return self

    def __exit__(self, error: object, *_: object) -> None:
        """End it, once all of it is well again."""
        try:
            if error is None:
                before = self.outcomes.copy()
                self._wait_until(lambda: all(self.outcomes[kind] > before[kind] for kind in GOOD))
        finally:
            self._done.set()
            for thread in self._threads:
                thread.join(60)
                assert not thread.is_alive()

    def wait_for_more(self, uploads: int) -> None:
        """Return when so many more pictures were acknowledged."""
        enough = len(self.kept) + uploads
        self._wait_until(lambda: len(self.kept) >= enough)

    def check(self) -> None:
        """What was acknowledged is there as it was, what was deleted is not, and all else was refused."""
        assert self.outcomes["wrong"] == self.outcomes["lost"] == 0, self.outcomes
        assert set(self.outcomes) <= {*GOOD, REFUSED}, self.outcomes
        client = self.service.client
        for picture in self.acknowledged:
            answer = client.get(f"/images/{picture}?format=png")
            if picture in self.deleted:
                assert answer.status_code == 404
            elif picture not in self.doubtful:
                assert (answer.status_code, answer.content) == (200, self.kept.get(picture, answer.content))
        listed: set[str] = set()
        following: str | None = ""
        while following is not None:
            page = client.get("/images", params={"limit": 50, **({"cursor": following} if following else {})})
            listed |= {one["id"] for one in page.json()["images"]}
            following = page.json()["next"]
        assert self.acknowledged - self.deleted - self.doubtful <= listed
        assert not listed & self.deleted

    def _work(self, turn: Any) -> None:
        early = httpx.Limits(keepalive_expiry=2)  # after five idle seconds the service closes a connection
        with httpx.Client(base_url=self.service.url, timeout=60, limits=early) as client:
            while not self._done.is_set():
                try:
                    turn(client)
                except httpx.TransportError as error:  # refused by ``check``
                    self.outcomes[f"{error.request.method}: {error!r}"] += 1

    def _wait_until(self, condition: Callable[[], bool]) -> None:
        until = time.monotonic() + 120
        while not condition():
            assert time.monotonic() < until, (self.outcomes, self.service.log[-3000:])
            time.sleep(0.05)

    def _refused(self, answer: httpx.Response) -> None:
        kind = answer.headers.get("content-type"), answer.headers.get("cache-control")
        self.outcomes[answer.status_code, *kind] += 1
        time.sleep(0.05)

    def _upload(self, number: int) -> None:
        seeds = iter(range(number * 100_000, (number + 1) * 100_000))

        def turn(client: httpx.Client) -> None:
            data = encoded(photo(40, 30, next(seeds)), "PNG")
            for _ in range(20):  # as clients do: again, until it is acknowledged
                answer = client.post("/images", files={"file": data}, params={"widths": "20"})
                if answer.status_code in (200, 201):
                    self.outcomes["uploaded"] += 1
                    picture = answer.json()["id"]
                    self.acknowledged.add(picture)
                    shown = client.get(f"/images/{picture}?format=png")
                    if shown.status_code == 200:
                        self.kept[picture] = shown.content
                    else:
                        self._refused(shown)
                    return
                self._refused(answer)

        self._work(turn)

    def _read(self, number: int) -> None:
        def turn(client: httpx.Client) -> None:
            for picture, first in list(self.kept.items())[-10:]:
                answer = client.get(f"/images/{picture}?format=png", headers={"X-Turn": str(number)})
                if answer.status_code == 200:
                    self.outcomes["right" if answer.content == first else "wrong"] += 1
                elif answer.status_code == 404:
                    if picture not in self.deleted | self.doubtful:
                        self.outcomes["lost"] += 1
                else:
                    self._refused(answer)
            time.sleep(0.02)

        self._work(turn)

    def _list(self, _: int) -> None:
        def turn(client: httpx.Client) -> None:
            answer = client.get("/images", params={"limit": 20})
            if answer.status_code == 200:
                dates = [one["created"] for one in answer.json()["images"]]
                self.outcomes["listed" if dates == sorted(dates, reverse=True) else "unordered"] += 1
            else:
                self._refused(answer)
            time.sleep(0.1)

        self._work(turn)

    def _delete(self, _: int) -> None:
        def turn(client: httpx.Client) -> None:
            time.sleep(0.5)
            old = [name for name in list(self.kept)[:-12] if name not in self.deleted | self.doubtful]
            if not old:
                return
            self.doubtful.add(old[0])
            answer = client.delete(f"/images/{old[0]}")
            if answer.status_code == 204:
                self.deleted.add(old[0])
                self.outcomes["deleted"] += 1
            else:
                self._refused(answer)

        self._work(turn)


def store_settings(url: str) -> dict[str, Any]:
    return {"redis_url": url, "store_replicas": 1, "store_timeout": 2, "cache_bytes": 0, "header_cache": 0}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    nodes = Cluster(tmp_path_factory.mktemp("nodes"))
    try:
        yield nodes.start()
    finally:
        nodes.stop()


@pytest.fixture(scope="module")
def clustered(tmp_path_factory: pytest.TempPathFactory, cluster: Cluster) -> Iterator[RunningService]:
    """Begun at the very moment when a primary dies."""
    victim = cluster.primaries[2]
    victim.kill()
    with RunningService(tmp_path_factory.mktemp("clustered"), **store_settings(cluster.url)) as running:
        victim.start()
        cluster.wait_until_whole()
        yield running


def slot_of(picture: str) -> int:
    return key_slot(f"{{{picture}}}:stream".encode())


def test_everything_a_service_does(clustered, cluster, photo_file):
    """Upload, read, list, delete, expire, on a cluster."""
    client = clustered.client
    kept = clustered.upload(photo_file, widths="50,100")
    assert clustered.upload(photo_file, widths="50,100")["id"] == kept["id"]
    assert client.get(f"/images/{kept['id']}?width=70").status_code == 200
    assert client.get(f"/images/{kept['id']}/stream").status_code == 200
    assert [one["id"] for one in client.get("/images").json()["images"]] == [kept["id"]]
    assert len(cluster.holder(slot_of(kept["id"])).client.keys(f"{{{kept['id']}}}:*")) == 2
    assert client.delete(f"/images/{kept['id']}").status_code == 204
    problem(client.get(f"/images/{kept['id']}"), 404)
    short = clustered.upload(encoded(photo(33, 44), "PNG"), ttl=1)
    time.sleep(1.5)
    problem(client.get(f"/images/{short['id']}"), 404)
    assert client.get("/images").json()["images"] == []
    assert clustered.metric("compass_store_up") == 1


def test_a_primary_is_killed_under_load(clustered, cluster):
    with Load(clustered) as load:
        victim = cluster.primaries[0]
        heir = cluster.replica_of(victim)
        victim.kill()
        wait_for(lambda: heir.role() == "master")
        load.wait_for_more(2)  # those that have a replica: the heir has none yet
        victim.start()
        cluster.wait_until_whole()
        load.wait_for_more(15)
    load.check()
    print(dict(load.outcomes))


def test_slots_are_moved_under_load(clustered, cluster):
    with Load(clustered) as load:
        for turn in range(3):
            source, target = cluster.primaries[turn], cluster.primaries[(turn + 1) % 3]
            first, last = cluster.slots(source)[0]
            some = ("SLOTSRANGE", first, (first + last) // 2, "NODE", cluster.id(target))
            source.client.execute_command("CLUSTER", "MIGRATESLOTS", *some)
            wait_for(lambda target=target, first=first: cluster.holder(first) is target)
            load.wait_for_more(3)
    load.check()
    print(dict(load.outcomes))


def test_a_minority_acknowledges_nothing(clustered, cluster):
    """All nodes but one primary stand still: what it is told is not acknowledged, neither before nor after it
    notices that it is alone; what it has can be read until then. Afterwards all is well.
    """
    data = [encoded(photo(36, 28, seed), "PNG") for seed in range(4000, 4040)]
    kept = [clustered.upload(one, widths="20")["id"] for one in data[:6]]
    alone = cluster.primaries[1]
    others = [node for node in cluster.nodes if node is not alone]
    for node in others:
        node.hang()
    try:
        answers = []
        until = time.monotonic() + 8
        for one in data[6:]:
            answers.append(clustered.client.post("/images", files={"file": one}, params={"widths": "20"}))
            if time.monotonic() > until:
                break
        for answer in answers:
            problem(answer, 503)
            assert answer.headers["retry-after"]
        for picture in kept:
            problem(clustered.client.delete(f"/images/{picture}"), 503)
        assert clustered.client.get("/healthz").status_code == 200
    finally:
        for node in others:
            node.go_on()
    cluster.wait_until_whole()
    clustered.wait_until_ready(30)
    for one in data:
        clustered.upload(one, widths="20")


def test_ready_is_who_has_a_store(clustered, cluster):
    """While all of it stands still, no; while a third of it does, yes: most pictures can be had."""
    cluster.wait_until_whole()
    for node in cluster.nodes:
        node.hang()
    try:
        began = time.monotonic()
        problem(clustered.client.get("/readyz"), 503)
        assert time.monotonic() - began < 2
    finally:
        for node in cluster.nodes:
            node.go_on()
    clustered.wait_until_ready(30)
    cluster.wait_until_whole()
    victim = cluster.primaries[0]
    victim.kill()
    assert clustered.client.get("/readyz").status_code == 200
    victim.start()
    cluster.wait_until_whole()


@pytest.fixture(scope="module")
def sentinels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    servers = Watched(tmp_path_factory.mktemp("sentinels"), "5ecret")
    try:
        yield servers.start()
    finally:
        servers.stop()


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, sentinels: Watched) -> Iterator[RunningService]:
    passwords = {"redis_password": "5ecret", "sentinel_password": "5ecrets"}
    settings = {**store_settings(sentinels.url), **passwords}
    with RunningService(tmp_path_factory.mktemp("watched"), **settings) as running:
        yield running


def promoted(sentinels: Watched) -> Server:
    """The other server, once it is the primary."""
    old = sentinels.primary
    heir = next(server for server in sentinels.servers if server is not old)
    wait_for(lambda: sentinels.primary is heir and heir.role() == "master")
    return heir


def test_sentinels_promote_a_replica_under_load(watched, sentinels):
    with Load(watched) as load:
        for harm in ("kill", "hang"):
            old = sentinels.primary
            getattr(old, harm)()
            promoted(sentinels)
            old.start() if harm == "kill" else old.go_on()
            wait_for(lambda old=old: old.role() == "slave")
            load.wait_for_more(6)
    load.check()
    print(dict(load.outcomes))


def test_without_a_replica_nothing_is_acknowledged(watched, sentinels, photo_file):
    kept = watched.upload(photo_file)
    replica = next(server for server in sentinels.servers if server is not sentinels.primary)
    replica.hang()
    try:
        refused = watched.client.post("/images", files={"file": encoded(photo(50, 51), "PNG")})
        problem(refused, 503)
        assert "0 of 1 replicas" in refused.json()["detail"]
        problem(watched.client.post("/images", files={"file": photo_file}), 503)  # kept before, unsure now
        assert watched.client.get(f"/images/{kept['id']}").status_code == 200
    finally:
        replica.go_on()
    wait_for(lambda: replica.client.info("replication")["master_link_status"] == "up")
    assert watched.upload(encoded(photo(50, 51), "PNG"))["id"]
    assert watched.metric("compass_store_unconfirmed_total") >= 2


def test_a_service_waits_for_its_cluster(tmp_path: Path):
    """It starts before there is one, says that it is not ready, and is once it comes."""
    nodes = Cluster(tmp_path)
    running = RunningService(tmp_path / "service", **store_settings(nodes.url))
    try:
        running.launch()
        until = time.monotonic() + 240
        while time.monotonic() < until:
            with suppress(httpx.TransportError):
                answer = running.client.get("/readyz")
                if answer.json()["detail"] != "no worker is ready":
                    break
            time.sleep(0.1)
        problem(answer, 503)
        problem(running.client.get("/images"), 503)
        nodes.start()
        running.wait_until_ready(30)
        assert running.upload(encoded(photo(40, 30), "PNG"))["id"]
    finally:
        running.stop()
        nodes.stop()
