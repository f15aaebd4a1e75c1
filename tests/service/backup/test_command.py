"""``compass backup`` and ``compass restore`` as users run them, and a backup while a service is at work."""

import asyncio
import subprocess
import sys
from threading import Event, Thread

import pytest

from service.cli import main
from tests.service.running import ROOT, RunningService
from tests.service.samples import encoded, photo


async def run(*arguments: str) -> int:
    return await asyncio.to_thread(main, list(arguments))


async def test_there_and_back(place, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COMPASS_DATA", str(tmp_path / "first"))
    monkeypatch.setenv("COMPASS_ORIGINALS", f"file://{tmp_path}/first/originals")
    kept = await place.put(0)
    await place.put(1, created=2_000_000_000.0)
    folder = str(tmp_path / "a backup")
    assert await run("backup", folder) == 0
    assert "2 pictures in the backup: 2 pictures and 1 originals written" in capsys.readouterr().out
    assert await run("backup", folder, "--since", "2033-01-01", "--keep", "1") == 0
    assert "2 pictures in the backup: 0 pictures and 0 originals written" in capsys.readouterr().out
    assert await run("restore", folder, "--check") == 0
    assert "2 of 2 pictures found whole" in capsys.readouterr().out
    monkeypatch.setenv("COMPASS_DATA", str(tmp_path / "new"))
    monkeypatch.setenv("COMPASS_ORIGINALS", f"file://{tmp_path}/new originals".replace(" ", "%20"))
    assert await run("restore", folder) == 0
    assert "2 of 2 pictures restored" in capsys.readouterr().out
    assert await run("restore", folder) == 0
    assert "0 of 2 pictures restored; 2 were there" in capsys.readouterr().out
    assert await run("fsck") == 0
    assert "1 originals, 0 missing" in capsys.readouterr().out
    monkeypatch.setenv("COMPASS_DATA", str(tmp_path / "first"))
    monkeypatch.setenv("COMPASS_ORIGINALS", f"file://{tmp_path}/first/originals")
    await place.raw.setrange(f"{{{kept.id}}}:facts", 10, b"!!!")
    assert await run("backup", folder) == 3
    assert kept.id in capsys.readouterr().out


async def test_originals_that_are_lost_come_back_or_are_told(place, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COMPASS_DATA", str(tmp_path / "first"))
    monkeypatch.setenv("COMPASS_ORIGINALS", f"file://{tmp_path}/first/originals")
    digest = (await place.put(0)).facts.original
    kept, saved = (tmp_path / folder / "originals" / digest for folder in ("first/originals", "backup"))
    assert await run("backup", str(tmp_path / "backup")) == 0
    kept.unlink()
    capsys.readouterr()
    assert await run("restore", str(tmp_path / "backup")) == 0
    assert "0 of 1 pictures restored; 1 were there; 1 originals brought back" in capsys.readouterr().out
    assert kept.read_bytes() == saved.read_bytes()
    saved.write_bytes(b"wrong")
    assert await run("restore", str(tmp_path / "backup"), "--check") == 3
    assert "its original is damaged in the backup" in capsys.readouterr().out
    assert await run("restore", str(tmp_path / "backup")) == 0  # nothing is needed of it
    kept.unlink()
    assert await run("restore", str(tmp_path / "backup")) == 3
    assert "its original is damaged in the backup" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["backup", "ftp://host/x"], "a backup lies in"),
        (["backup", "/tmp", "--since", "yesterday"], "no time such as"),
        (["restore", "/dev/null/x"], "cannot use"),
    ],
)
def test_what_cannot_be(arguments, told, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COMPASS_DATA", str(tmp_path))
    (tmp_path / "appendonlydir").mkdir()
    assert main(arguments) == 1
    assert told in capsys.readouterr().err


def test_there_is_nothing_to_restore(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COMPASS_DATA", str(tmp_path / "new"))
    assert main(["restore", str(tmp_path / "nothing")]) == 1
    assert "no complete backup" in capsys.readouterr().err


@pytest.mark.slow
def test_while_a_service_is_at_work(tmp_path):
    """Every upload that was acknowledged before the run began comes back bit by bit, with its original."""
    settings = {"api_keys": "k", "originals": f"file://{tmp_path}/originals"}
    service = RunningService(tmp_path / "one", **settings)
    service.client.headers["X-API-Key"] = "k"
    service.start()
    restored = RunningService(tmp_path / "two", **{**settings, "originals": f"file://{tmp_path}/restored"})
    restored.client.headers["X-API-Key"] = "k"

    def command(of: RunningService, *arguments: str) -> str:
        environment = {
            "COMPASS_DATA": str(of.folder / "data"),
            "COMPASS_ORIGINALS": str(of._settings["originals"]),
        }
        found = subprocess.run(
            [sys.executable, "-m", "service.cli", *arguments],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return found.stdout

    done: list[tuple[str, bytes]] = []
    end = Event()

    def upload() -> None:
        seed = 0
        while not end.is_set():
            data = encoded(photo(60, 40, seed), "PNG")
            done.append((service.upload(data)["id"], data))
            seed += 1

    uploading = Thread(target=upload)
    uploading.start()
    try:
        backups = 0
        while backups < 3:
            before = len(done) + 5
            while len(done) < before:
                assert uploading.is_alive()
            acknowledged = list(done)
            command(service, "backup", str(tmp_path / "backup"))
            backups += 1
        end.set()
        uploading.join()
        assert service.metric("compass_backup_timestamp_seconds") > 1.7e9
        command(restored, "restore", str(tmp_path / "backup"))
        restored.start()
        for picture, data in acknowledged:
            assert restored.client.get(f"/images/{picture}/original").content == data
            streams = [one.client.get(f"/images/{picture}/stream").content for one in (service, restored)]
            assert streams[0] == streams[1]
    finally:
        end.set()
        uploading.join()
        service.stop()
        if restored._process is not None:
            restored.stop()
