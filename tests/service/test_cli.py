"""The command ``compass``, run as a user runs it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from benchmarks.measure.drawn import cartoon
from model.codec.graphics import encode_lossless
from model.stream.container import CodedLayer, write
from service.cli import main
from tests.service.running import ROOT
from tests.service.samples import encoded, photo

STREAM = write(
    b"model-id",
    256,
    [CodedLayer(30, 20, 75, b"hyper", [b"a" * 9]), CodedLayer(60, 40, 75, b"hyper", [b"b" * 90])],
)


def compass(*arguments, cwd=ROOT, stdin=None, **environment):
    base = {k: v for k, v in os.environ.items() if not k.startswith("COMPASS_")}
    return subprocess.run(
        [sys.executable, "-m", "service.cli", *map(str, arguments)],
        cwd=cwd,
        env={**base, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment},
        stdin=stdin,
        capture_output=True,
        text=True,
        timeout=240,
    )


def compass_here(capsys, *arguments):
    """The same in this process, which has loaded the codec already: a start takes seconds."""
    code = main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return subprocess.CompletedProcess(arguments, code, printed.out, printed.err)


def failed(result, code=1):
    """The one line that the command says on failure."""
    assert result.returncode == code, result
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    return lines[0]


def test_info(tmp_path):
    path = tmp_path / "a.cmps"
    path.write_bytes(STREAM)
    result = compass("info", path)
    assert result.returncode == 0
    assert "all checksums right" in result.stdout
    assert "60      40" in result.stdout
    path.write_bytes(STREAM[:-1])
    assert "not in this file" in compass("info", path).stdout
    path.write_bytes(STREAM[:-1] + b"x")
    assert "CRC" in failed(compass("info", path))
    path.write_bytes(STREAM)
    with path.open("rb") as piped:
        told = compass("info", "--json", "-", stdin=piped)
    assert [layer["width"] for layer in json.loads(told.stdout)["layers"]] == [30, 60]
    path.write_bytes(STREAM + b"x")
    assert "follow the last layer" in failed(compass("info", path))
    path.write_bytes(b"rubbish")
    assert "magic" in failed(compass("info", path))
    assert "No such file" in failed(compass("info", tmp_path / "none"))


def test_a_graphic_is_decoded_without_weights(tmp_path, capsys):
    drawing = cartoon().crop((0, 0, 120, 80))
    path, out = tmp_path / "a.cmps", tmp_path / "a.png"
    path.write_bytes(encode_lossless(np.asarray(drawing)))
    command = (
        "import sys; from service.cli import main; sys.exit(main(sys.argv[1:]) or 'torch' in sys.modules)"
    )
    arguments = [sys.executable, "-c", command, "decode", str(path), str(out)]
    assert subprocess.run(arguments, cwd=ROOT, check=False).returncode == 0
    assert np.array_equal(np.asarray(Image.open(out)), np.asarray(drawing))
    assert compass_here(capsys, "decode", path, tmp_path / "b.webp", "--width", "60").returncode == 0
    assert Image.open(tmp_path / "b.webp").size == (60, 40)
    assert "kind lossless" in compass_here(capsys, "info", path).stdout
    found = json.loads(compass_here(capsys, "info", "--json", path).stdout)
    assert (found["kind"], found["model"], found["layers"][0]["width"]) == ("lossless", None, 120)
    path.write_bytes(path.read_bytes()[:-1])
    assert "which hold 0 layers" in failed(compass_here(capsys, "decode", path, out))
    assert "not in this file" in compass_here(capsys, "info", path).stdout


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


@pytest.mark.slow
def test_encode_and_decode(tmp_path, capsys):
    """In processes of their own, then again and again in this one; a prefix decodes as the whole stream."""
    (tmp_path / "photo.png").write_bytes(encoded(photo(90, 60), "PNG"))
    stream, prefix = tmp_path / "out.cmps", tmp_path / "prefix.cmps"
    result = compass("encode", tmp_path / "photo.png", stream, "--widths", "30,45", "--quality", "75")
    assert result.returncode == 0, result.stderr
    assert "90 x 60" in result.stdout
    assert compass("decode", stream, tmp_path / "apart.png", "--width", 40).returncode == 0
    for width, size in ((30, (30, 20)), (40, (40, 27)), (500, (90, 60))):
        out = tmp_path / f"{width}.png"
        assert compass_here(capsys, "decode", stream, out, "--width", width).returncode == 0
        assert Image.open(out).size == size
    assert (tmp_path / "apart.png").read_bytes() == (tmp_path / "40.png").read_bytes()
    with stream.open("rb") as piped:
        out = tmp_path / "piped.png"
        code = ["decode", "-", out, "--width", "40"]
        assert compass(*code, stdin=piped).returncode == 0
    assert out.read_bytes() == (tmp_path / "40.png").read_bytes()
    prefix.write_bytes(stream.read_bytes()[:-1])
    assert compass_here(capsys, "decode", prefix, tmp_path / "again.png", "--width", "40").returncode == 0
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "40.png").read_bytes()
    smaller = tmp_path / "searched.cmps"
    coding = ["--widths", "30,45", "--quality", "75", "--effort", "fast"]
    assert compass_here(capsys, "encode", tmp_path / "photo.png", smaller, *coding).returncode == 0
    assert smaller.stat().st_size < stream.stat().st_size
    assert "this width needs 3" in failed(compass_here(capsys, "decode", prefix, tmp_path / "x.png"))
    assert ".webp" in failed(compass_here(capsys, "decode", stream, tmp_path / "x.gif"))


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
