"""The command ``compass``, run as a user runs it."""

import signal
import socket
import subprocess
import sys
import time

from tests.service.commands import compass, failed
from tests.service.running import ROOT
from tests.service.samples import encoded, photo


def test_usage():
    for arguments in ((), ("dance",), ("decode", "a"), ("encode", "a", "b", "--quality", "0")):
        result = compass(*arguments)
        assert result.returncode == 2
        assert "usage" in result.stderr
    assert "serve" in compass("--help").stdout
    assert compass("--version").stdout.startswith("compass ")


def test_settings():
    result = compass("settings", COMPASS_WIDTHS="1,2", COMPASS_API_KEYS="hidden")
    assert "COMPASS_WIDTHS=1,2\n" in result.stdout
    assert "hidden" not in result.stdout
    assert "COMPASS_WIDTHS" in failed(compass("settings", COMPASS_WIDTHS="0"))
    assert "needs COMPASS_RAY_ADDRESS" in failed(compass("settings", COMPASS_ENGINE="ray"))


def test_sign():
    assert "COMPASS_URL_KEYS" in failed(compass("sign", "/images/x"))
    result = compass("sign", "/images/x?width=3", "--seconds", "9", COMPASS_URL_KEYS="k")
    assert result.stdout.startswith("/images/x?width=3&expires=")
    assert "&signature=" in result.stdout


def test_sign_takes_whole_urls_and_refuses_what_no_signature_opens():
    keys = {"COMPASS_URL_KEYS": "k"}
    path = "/images/" + "a" * 32
    alone = compass("sign", f"{path}?width=3", **keys).stdout.strip()
    whole = compass("sign", f"https://img.example.org{path}?width=3", **keys).stdout.strip()
    assert whole == f"https://img.example.org{alone}"
    for wrong in (f"{path}#part", "images/x", "/healthz", "ftp://a/images/x", "", "/images/a b", "/images/ä"):
        assert "sign" in failed(compass("sign", wrong, **keys))


def test_fsck_of_an_empty_store(tmp_path):
    assert "holds no store" in failed(compass("fsck", COMPASS_DATA=str(tmp_path)))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "appendonlydir").mkdir()
    result = compass("fsck", COMPASS_DATA=str(tmp_path))
    assert (result.returncode, result.stdout) == (
        0,
        "0 pictures, 0 damaged, 0 were missing from the listing, 0 entries of it removed\n",
    )
    assert "does not answer" in failed(compass("fsck", COMPASS_REDIS_URL="redis://127.0.0.1:1/"))


def test_a_taken_port_is_told_before_anything_is_loaded(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        began = time.monotonic()
        told = failed(
            compass("serve", "--port", port, COMPASS_DATA=str(tmp_path / "data"), COMPASS_DEVICE="cpu")
        )
    assert f"port {port}" in told
    assert not (tmp_path / "data").exists()
    assert time.monotonic() - began < 30


def test_what_cannot_be_served_is_told_in_a_line(tmp_path):
    (tmp_path / "file").write_text("no folder")
    result = compass("serve", "--port", "0", COMPASS_DATA=str(tmp_path / "file"), COMPASS_DEVICE="cpu")
    assert result.returncode == 1
    assert "cannot use" in result.stderr
    assert "Traceback" not in result.stderr
    assert "starting the store" in result.stderr


def test_import_to_nobody_fails_at_once(tmp_path):
    (tmp_path / "a.png").write_bytes(encoded(photo(9, 9), "PNG"))
    began = time.monotonic()
    assert "no answer from" in failed(compass("import", tmp_path, "--url", "http://127.0.0.1:1"))
    assert time.monotonic() - began < 30


def test_an_import_that_is_interrupted_sums_up(tmp_path, service):
    for number in range(30):
        (tmp_path / f"{number}.png").write_bytes(encoded(photo(300, 200, seed=500 + number), "PNG"))
    command = [sys.executable, "-m", "service.cli", "import", str(tmp_path), "--url", service.url]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}

    def heeding() -> None:  # a suite that runs in the background ignores Ctrl-C, and so would its children
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    importing = subprocess.Popen(command, cwd=ROOT, text=True, preexec_fn=heeding, **pipes)
    while (
        not (tmp_path / "compass-import.jsonl").is_file()
        or not (tmp_path / "compass-import.jsonl").read_text()
    ):
        assert importing.poll() is None
        time.sleep(0.05)
    importing.send_signal(signal.SIGINT)
    out, err = importing.communicate(timeout=60)
    assert importing.returncode == 130
    assert "pictures stored" in out
    assert "interrupted" in out
    assert "Traceback" not in err
    assert "\r" not in err
