"""docs/operations.md: a backup taken while uploads run, restored into an empty store."""

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.deploy.shipped import DOCKER, ShippedRedis
from tests.service.running import ROOT, RunningService, seconds_until
from tests.service.samples import encoded, photo

pytestmark = pytest.mark.slow


def by_replication(server: ShippedRedis, file: Path) -> None:
    """As the manual does it in a container."""
    if shutil.which("redis-cli") is None:
        pytest.skip("redis-cli is not installed (Debian: apt-get install redis-tools)")
    secret = server.folder.parent / "redis_password"
    environment = {**os.environ, "REDIS_PASSWORD_FILE": str(secret), "BACKUP_FOLDER": str(file.parent)}
    command = ["sh", str(DOCKER / "backup.sh"), "-p", str(server.port)]
    with file.open("wb") as out:
        subprocess.run(command, env=environment, stdout=out, check=True)
    assert list(file.parent.glob("backup.??????")) == []


def by_snapshot(server: ShippedRedis, file: Path) -> None:
    """As the manual does it with the embedded store."""
    before = server.client.lastsave()
    server.client.bgsave()
    while server.client.lastsave() == before or server.client.info("persistence")["rdb_bgsave_in_progress"]:
        time.sleep(0.1)
    shutil.copy(server.folder / "dump.rdb", file)


def restore(folder: Path, file: Path) -> subprocess.CompletedProcess[str]:
    with file.open("rb") as backup:
        return subprocess.run(
            ["sh", str(DOCKER / "restore.sh"), str(folder)], stdin=backup, capture_output=True, text=True
        )


def fsck(server: ShippedRedis) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COMPASS_")}
    return subprocess.run(
        [sys.executable, "-m", "service.cli", "fsck"],
        cwd=ROOT,
        env={**environment, "COMPASS_REDIS_URL": server.url},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("backup", [by_replication, by_snapshot])
def test_a_backup_under_load_holds_every_acknowledged_picture(
    backup, deployed: RunningService, shipped_redis: ShippedRedis, tmp_path
):
    acknowledged: list[str] = []
    done = threading.Event()

    def upload() -> None:
        seed = 1000 if backup is by_snapshot else 2000
        while not done.is_set():
            seed += 1
            data = encoded(photo(96, 64, seed), "JPEG")
            acknowledged.append(deployed.upload(data, widths="32")["id"])

    uploading = threading.Thread(target=upload)
    uploading.start()
    try:
        seconds_until(lambda: len(acknowledged) >= 4, at_most=120)
        promised = list(acknowledged)
        backup(shipped_redis, tmp_path / "backup.rdb")
        first_after = len(acknowledged)
        seconds_until(lambda: len(acknowledged) >= first_after + 2, at_most=120)  # uploads went on
    finally:
        done.set()
        uploading.join()

    (tmp_path / "restored").mkdir()
    assert restore(tmp_path / "restored", tmp_path / "backup.rdb").returncode == 0
    restored = ShippedRedis(tmp_path / "restored")
    restored.start()
    try:
        original, copied = shipped_redis.pictures, restored.pictures
        assert {f"{{{picture}}}:stream".encode() for picture in promised} <= set(copied)
        assert copied.items() <= original.items()
        checked = fsck(restored)
        assert checked.returncode == 0, checked.stdout + checked.stderr
        assert f"{len(copied)} pictures, 0 damaged" in checked.stdout
        restored.client.set("written", "after the restore")
        restored.stop()
        restored.start()
        assert restored.client.get("written") == b"after the restore"
        assert restored.pictures == copied
        refused = restore(tmp_path / "restored", tmp_path / "backup.rdb")
        assert refused.returncode == 1
        assert "not empty" in refused.stderr
        assert restored.pictures == copied
    finally:
        restored.stop()


def test_something_else_is_not_restored(tmp_path):
    (tmp_path / "file").write_bytes(b"not a backup")
    (tmp_path / "store").mkdir()
    refused = restore(tmp_path / "store", tmp_path / "file")
    assert refused.returncode == 1
    assert "not an RDB file" in refused.stderr
    assert list((tmp_path / "store").iterdir()) == []
