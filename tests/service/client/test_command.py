"""``compass import``, as a user runs it."""

import json

import pytest

from benchmarks.load.processes import free_port
from service.client.command import main
from service.client.folder import LIST_NAME
from tests.service.commands import compass


def test_import(service, client, folder):
    uploads = service.metric("compass_requests_total", method="POST")
    wished = ("--widths", "30", "--focus", "0.25,0.5")
    result = compass("import", folder, "--url", service.url, *wished)
    assert result.returncode == 1
    assert "2 pictures stored, 0 of them before" in result.stdout
    assert "1 failed" in result.stdout
    assert "broken.jpg" in result.stderr
    lines = [json.loads(line) for line in (folder / LIST_NAME).read_text().splitlines()]
    assert sorted(line["file"] for line in lines) == ["a.png", "deep/b.JPG"]
    assert all(
        [layer["width"] for layer in client.info(line["id"]).facts["layers"]] == [30, 60] for line in lines
    )
    assert all(client.info(line["id"]).facts["focus"] == [0.25, 0.5] for line in lines)
    assert service.metric("compass_requests_total", method="POST") == uploads + 3

    (folder / "broken.jpg").unlink()
    again = compass("import", folder, "--url", service.url, *wished)
    assert again.returncode == 0
    assert "2 pictures stored, 2 of them before" in again.stdout
    assert service.metric("compass_requests_total", method="POST") == uploads + 3


def test_what_cannot_be_done_is_said_in_one_line(folder, capsys):
    nobody = f"http://127.0.0.1:{free_port()}"
    assert main([str(folder), "--url", nobody]) == 1
    assert capsys.readouterr().err.startswith(f"compass: no answer from {nobody}")
    assert main([str(folder / "none"), "--url", nobody]) == 1
    assert capsys.readouterr().err == f"compass: {folder / 'none'}: not a folder\n"


@pytest.mark.parametrize("wrong", [("--quality", "101"), ("--widths", "3,x"), ("--jobs", "0")])
def test_wrong_usage(folder, capsys, wrong):
    with pytest.raises(SystemExit) as ended:
        main([str(folder), *wrong])
    assert ended.value.code == 2
    assert wrong[0] in capsys.readouterr().err
