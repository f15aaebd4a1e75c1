"""Rate and PSNR of every layer, on small pictures and weights."""

import json

from PIL import Image

from benchmarks.quality import layers
from model.geometry import Size
from tests.model.tiny import picture


def test_a_quarter_a_half_and_all():
    assert layers.ladder(Size(512, 768)) == [Size(128, 192), Size(256, 384), Size(512, 768)]
    assert layers.ladder(Size(2, 1)) == [Size(1, 1), Size(1, 1), Size(2, 1)]


def test_whole(tiny_weights, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(layers, "QUALITIES", (10, 90))
    Image.fromarray(picture(96, 64)).save(tmp_path / "a.png")
    layers.main(["--data", str(tmp_path), "--profile", str(tiny_weights), "--out", str(tmp_path / "out")])
    printed = capsys.readouterr().out
    assert "layer 0, 1/4 of the width" in printed
    figures = json.loads(printed.splitlines()[-1])["layers"]
    assert figures.keys() == {"10", "90"}
    assert all(len(rows) == 3 and all(rate > 0 for rate, _ in rows) for rows in figures.values())
