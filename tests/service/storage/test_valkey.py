"""The embedded Valkey: durable, alone on its folder, never left behind, back after its own death."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import redis.asyncio as redis

from model.stream.container import CodedLayer, read_header, write
from service.errors import StoreFull, StoreUnavailable
from service.metrics import Metrics
from service.settings import Settings
from service.storage.disk import Disk
from service.storage.records import Record
from service.storage.store import Store
from service.storage.valkey import EmbeddedValkey
from tests.service.running import ROOT
from tests.service.storage.samples import FACTS, STREAM, record

OWNER = """
import asyncio, sys
from pathlib import Path
import redis.asyncio as redis
from service.storage.valkey import EmbeddedValkey

async def main():
    server = EmbeddedValkey(Path(sys.argv[1]))
    await server.start()
    client = redis.Redis(unix_socket_path=str(server.socket))
    await client.set("key", sys.argv[2])
    print("acknowledged", flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


def owner(folder: Path, value: str) -> subprocess.Popen[bytes]:
    """A process that has started a Valkey there and stored a value in it."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(folder), value], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"acknowledged\n"
    return process


def servers(folder: Path) -> list[psutil.Process]:
    """Valkey processes that store in a folder."""
    found = psutil.process_iter(["name", "cwd"])
    return [p for p in found if p.info["name"] == "valkey-server" and p.info["cwd"] == str(folder)]


async def value(server: EmbeddedValkey) -> object:
    client = redis.Redis(unix_socket_path=str(server.socket))
    try:
        return await client.get("key")
    finally:
        await client.aclose()


async def test_survives_a_clean_restart(tmp_path):
    for expected in (None, b"a", b"a"):
        server = EmbeddedValkey(tmp_path)
        await server.start()
        assert await value(server) == expected
        client = redis.Redis(unix_socket_path=str(server.socket))
        await client.set("key", "a")
        await client.aclose()
        await server.stop()
        assert not await server.answers()


async def test_survives_kill_9_of_its_owner_and_leaves_no_orphan(tmp_path):
    process = owner(tmp_path, "first")
    valkey = psutil.Process(process.pid).children()[0]
    process.kill()
    process.wait()
    valkey.wait(10)  # it was told by the kernel
    server = EmbeddedValkey(tmp_path)
    await server.start()
    assert await value(server) == b"first"
    await server.stop()


async def test_survives_kill_9_of_everything(tmp_path):
    process = owner(tmp_path, "second")
    for victim in [*psutil.Process(process.pid).children(), psutil.Process(process.pid)]:
        victim.kill()
    process.wait()
    server = EmbeddedValkey(tmp_path)
    await server.start()
    assert await value(server) == b"second"
    await server.stop()


async def test_ends_a_server_left_behind(tmp_path):
    """Were the kernel's signal lost, the next start would end the old server before its own."""
    process = owner(tmp_path, "third")
    valkey = psutil.Process(process.pid).children()[0]
    valkey.suspend()  # it will get the signal late
    process.kill()
    process.wait()
    server = EmbeddedValkey(tmp_path)
    start = asyncio.create_task(server.start())
    await asyncio.sleep(0.5)
    assert not start.done()
    valkey.resume()
    await start
    assert await value(server) == b"third"
    assert len(servers(tmp_path)) == 1
    await server.stop()
    assert not servers(tmp_path)


async def test_a_folder_in_use_is_refused(valkey):
    with pytest.raises(StoreUnavailable, match="in use"):
        await EmbeddedValkey(valkey.folder).start()
    assert await valkey.answers()


async def test_is_started_again_after_its_death(valkey):
    client = redis.Redis(unix_socket_path=str(valkey.socket))
    await client.set("key", "kept")
    await client.aclose()
    (process,) = servers(valkey.folder)
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    for _ in range(200):
        if await valkey.answers():
            break
        await asyncio.sleep(0.05)
    assert await value(valkey) == b"kept"


async def test_a_path_too_long_for_a_socket_is_refused(tmp_path):
    with pytest.raises(StoreUnavailable, match="too long"):
        await EmbeddedValkey(tmp_path / ("x" * 100)).start()


async def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="cannot use"):
        await EmbeddedValkey(tmp_path / "file" / "data").start()


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 24 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", folder], check=True)


async def put_until_full(store):
    """Pictures of a megabyte each."""
    stream = write(b"model-id", 256, [CodedLayer(64, 48, 75, b"hyper", [b"x" * 2**20])])
    for letter in "ijklmnopqrstuvwxyz234567":
        await store.put(Record(letter * 32, read_header(stream), FACTS), stream, ())


async def test_a_disk_that_runs_full_stops_no_reading(small_disk):
    server = EmbeddedValkey(small_disk)
    await server.start()
    pid = server._process.pid
    store = Store(server.url, Settings(), Metrics(), Disk(small_disk, 4 * 2**20))
    await store.put(record(), STREAM, ())
    with pytest.raises(StoreFull, match="disk"):
        await put_until_full(store)
    for number in range(3):
        with pytest.raises(StoreFull):
            await store.put(record(number), STREAM + bytes(20 * 2**20), ())
    assert server._process.pid == pid
    assert await store.prefix(await store.record(record().id, fresh=True), 1) == STREAM
    await store.delete(record().id)
    await store.close()
    await server.stop()


async def test_a_write_that_ended_the_server_is_not_repeated(small_disk, caplog):
    server = EmbeddedValkey(small_disk)
    await server.start()
    store = Store(server.url, Settings(), Metrics())
    with pytest.raises((StoreFull, StoreUnavailable)):
        await put_until_full(store)
    await asyncio.sleep(1)
    assert caplog.text.count("Valkey ended with status") == 1
    await store.close()
    await server.stop()


async def test_nobody_else_may_read_the_store(tmp_path):
    server = EmbeddedValkey(tmp_path / "data")
    await server.start()
    store = Store(server.url, Settings(), Metrics())
    await store.put(record(), STREAM, ())
    files = [server.folder, *server.folder.rglob("*")]
    assert len(files) > 4
    assert [file.name for file in files if file.stat().st_mode & 0o077] == []
    await store.close()
    await server.stop()
