"""Pictures of older models: answered 503 without their weights, coded anew by processes that die."""

import asyncio
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256

import psutil
import pytest

from model.installed import model_id, path_of_profile
from model.stream.container import read_header
from model.stream.ladder import Ladder
from service.metrics import Metrics
from service.planning.identity import picture_id
from service.settings import Settings
from service.storage.originals import originals_of
from service.storage.records import Facts, Record
from service.storage.store import Store
from service.storage.valkey import EmbeddedValkey
from tests.service.fakes import MODEL_ID, stream
from tests.service.running import ROOT, RunningService
from tests.service.samples import encoded, photo

CURRENT = model_id(path_of_profile("lite"))
PICTURES, KILLS = 200, 10
OLD = stream((24, 16), (48, 32))

RECODE = """
import os, sys
os.sched_setscheduler = lambda *_: None  # on a busy machine what stands back for all others gets nowhere
from service.engine import refiner
refiner.LAST = 0
from service.cli import main
sys.exit(main(["recode"]))
"""


async def fill(store: Store, settings: Settings, pictures: int) -> dict[str, bytes]:
    """Store pictures of weights that nobody has, with their originals; each upload by its picture's id."""
    originals = originals_of(settings, store)
    assert originals is not None
    uploads = {}
    for seed in range(pictures):
        data = encoded(photo(48, 32, seed), "PNG")
        digest = sha256(data)
        name = picture_id(digest.digest(), 80, Ladder((24,)), None)
        facts = Facts(time.time(), len(data), "PNG", 80, original=digest.hexdigest())
        await originals.keep(name, digest.hexdigest(), data)
        await store.put(Record(name, read_header(OLD), facts), OLD, ())
        uploads[name] = data
    return uploads


class Writes:
    """How often each stream was written from now on, as the server tells it."""

    def __init__(self, raw) -> None:
        self.counts: Counter[str] = Counter()
        self._raw = raw

    async def listen(self) -> None:
        await self._raw.config_set("notify-keyspace-events", "K$")
        channel = self._raw.pubsub()
        await channel.psubscribe("__keyspace@0__:{*}:stream")
        self._task = asyncio.create_task(self._count(channel))

    async def _count(self, channel) -> None:
        async for message in channel.listen():
            if message["type"] == "pmessage" and message["data"] == b"set":
                self.counts[message["channel"].decode().split("{")[1].split("}")[0]] += 1

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


def kill_family(process: subprocess.Popen) -> None:
    """As the kernel does when memory runs out: all of them at once."""
    with suppress(psutil.NoSuchProcess):
        family = psutil.Process(process.pid)
        for one in [family, *family.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                one.send_signal(signal.SIGKILL)
    process.wait(20)


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_recode_killed_ten_times_by_two_at_once(tmp_path, valkey: EmbeddedValkey, raw, monkeypatch):
    """All pictures whole, none replaced twice, ids as they were."""
    monkeypatch.setenv("COMPASS_ORIGINALS", f"file://{tmp_path}/originals")
    monkeypatch.setenv("COMPASS_DATA", str(tmp_path))
    monkeypatch.setenv("COMPASS_DEVICE", "cpu")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    store = Store(valkey.url, Settings(), Metrics())
    uploads = await fill(store, Settings(), PICTURES)
    before = {record.id: record async for record in store.catalogue.all_records()}
    writes = Writes(raw)
    await writes.listen()

    def start() -> subprocess.Popen:
        return subprocess.Popen([sys.executable, "-c", RECODE], cwd=ROOT, stdout=subprocess.PIPE, text=True)

    chance = random.Random(7)
    running = [start(), start()]
    for kill in range(KILLS):
        wanted = min(PICTURES, sum(writes.counts.values()) + chance.randint(3, 15))
        while sum(writes.counts.values()) < wanted:
            assert any(one.poll() is None for one in running), f"all had ended before kill {kill}"
            await asyncio.sleep(0.02)
        await asyncio.sleep(chance.random() / 10)
        victim = running.pop(kill % 2)
        assert victim.poll() is None
        kill_family(victim)
        running.append(start())
    told = await asyncio.gather(*(asyncio.to_thread(one.communicate) for one in running))
    assert [one.returncode for one in running] == [0, 0], told

    assert set(writes.counts) == set(uploads)
    assert set(writes.counts.values()) == {1}
    after = {record.id: record async for record in store.catalogue.all_records()}
    assert set(after) == set(before)
    for name, record in after.items():
        assert record.header.model_id == CURRENT
        assert record.facts == replace(before[name].facts)
        assert (await store.verify(name)).header.sizes == before[name].header.sizes
        assert not await raw.exists(f"{{{name}}}:lease")
    await writes.stop()
    await store.close()


@pytest.mark.slow
async def test_without_their_weights_pictures_are_told_and_answered_503(tmp_path, buckets):
    """At the start, in metrics, by status; and the same URLs give the pictures once they are coded anew."""
    address = f"file://{tmp_path}/originals"
    (tmp_path / "data").mkdir()
    valkey = EmbeddedValkey(tmp_path / "data")
    await valkey.start()
    store = Store(valkey.url, Settings(), Metrics())
    uploads = await fill(store, Settings(originals=address), 3)
    await store.close()
    await valkey.stop()
    service = RunningService(tmp_path, originals=address)
    await asyncio.to_thread(service.start)
    try:
        url = f"/images/{next(iter(uploads))}"
        answer = service.client.get(url)
        assert answer.status_code == 503
        assert answer.json()["title"] == "Weights missing"
        assert service.client.get(f"{url}/info").status_code == 200
        assert service.client.get(f"{url}/stream").content == OLD
        told = f"3 pictures need the weights of model {MODEL_ID.hex()}, which are not installed"
        while told not in service.log:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        assert service.metric("compass_pictures", model=MODEL_ID.hex()) == 3
        assert service.metric("compass_pictures_without_weights") == 3
        environment = {"COMPASS_DATA": str(tmp_path / "data"), "COMPASS_ORIGINALS": address}
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", RECODE],
            cwd=ROOT,
            env={"PATH": "", "OMP_NUM_THREADS": "1", "COMPASS_DEVICE": "cpu", **environment},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert "3 pictures coded anew" in done.stdout
        await asyncio.sleep(3.1)  # RECORD_SECONDS: so long the service may know the old stream
        answer = service.client.get(url, params={"format": "png"})
        assert answer.status_code == 200
        assert service.client.get(f"{url}/info").json()["model"] == CURRENT.hex()
    finally:
        service.stop()
