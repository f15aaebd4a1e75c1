"""Streams as files, by the command ``compass``."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from benchmarks.measure.drawn import cartoon
from model.codec.graphics import encode_lossless
from model.stream.container import CodedLayer, write
from tests.service.commands import compass, compass_here, failed
from tests.service.running import ROOT
from tests.service.samples import encoded, photo

STREAM = write(
    b"model-id",
    256,
    [CodedLayer(30, 20, 75, b"hyper", [b"a" * 9]), CodedLayer(60, 40, 75, b"hyper", [b"b" * 90])],
)


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
