"""``compass import --engine``, as a user runs it, with a real worker and a store of its own."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from service.client.folder import LIST_NAME, Tally
from service.engine import devices
from service.importing import command
from tests.service.commands import compass
from tests.service.samples import encoded, photo


def test_a_folder_is_in_the_store_and_the_same_command_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(2):
        (folder / f"{number}.png").write_bytes(encoded(photo(60 + number, 40), "PNG"))
    (folder / "broken.png").write_bytes(b"no picture")
    data = tmp_path / "data"
    environment = {"COMPASS_DATA": str(data), "COMPASS_DEVICE": "cpu", "COMPASS_SPARE_WORKERS": "0"}
    first = compass("import", folder, "--engine", "local", "--widths", "30", **environment)
    assert first.returncode == 1
    assert "2 pictures stored, 0 of them before" in first.stdout
    assert "1 failed" in first.stdout
    assert "broken.png" in first.stderr
    assert (folder / LIST_NAME).is_file()
    (folder / "broken.png").unlink()
    again = compass("import", folder, "--engine=local", "--widths", "30", **environment)
    assert (again.returncode, again.stderr) == (0, "")
    assert "2 pictures stored, 2 of them before" in again.stdout
    checked = compass("fsck", **environment)
    assert checked.returncode == 0
    assert "2 pictures" in checked.stdout
    assert (data / "appendonlydir").is_dir()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["nowhere", "--engine", "local"], "not a folder"), ([".", "--engine", "ray"], "COMPASS_RAY_ADDRESS")],
)
def test_what_cannot_be_is_said(arguments: list[str], said: str) -> None:
    done = compass("import", *arguments)
    assert done.returncode == 1
    assert said in done.stderr


@pytest.mark.parametrize(
    ("settings", "arguments", "jobs"),
    [
        ({"COMPASS_WORKERS": "0"}, [], 6),
        ({"COMPASS_WORKERS": "2"}, [], 4),
        ({"COMPASS_WORKERS": "0"}, ["--jobs", "1"], 1),
    ],
)
def test_two_pictures_for_each_worker_are_under_way(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    settings: dict[str, str],
    arguments: list[str],
    jobs: int,
) -> None:
    """On a machine of three cores and a spare worker; what is imported does not matter here."""
    asked = []

    def imported(_: object, folder: Path, jobs: int, **coding: Any) -> Tally:
        asked.append(jobs)
        return Tally()

    for name, value in {**settings, "COMPASS_DEVICE": "cpu", "COMPASS_SPARE_WORKERS": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(devices, "core_count", lambda: 3)
    monkeypatch.setattr(command, "direct", nullcontext)
    monkeypatch.setattr(command, "import_folder", imported)
    assert command.main([str(tmp_path), "--engine", "local", *arguments]) == 0
    assert asked == [jobs]
