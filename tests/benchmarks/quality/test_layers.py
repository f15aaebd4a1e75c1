"""Rate and PSNR of every layer, on small pictures and weights."""

import json

from PIL import Image

from benchmarks.quality import layers
from tests.model.tiny import picture


def test_what_a_layer_takes_alone():
    """Of 16 pixels the layers of 1, 4 and 16 take 2, 4 and 10 bits."""
    points = [(2 / 16, 30.0), (6 / 16, 31.0), (16 / 16, 32.0)]
    assert layers.own(points) == [(2.0, 2.0, 30.0), (1.5, 1.0, 31.0), (1.0, 0.625, 32.0)]


def test_whole(tiny_weights, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(layers, "QUALITIES", (10, 90))
    Image.fromarray(picture(96, 64)).save(tmp_path / "a.png")
    layers.main(["--data", str(tmp_path), "--profile", str(tiny_weights), "--out", str(tmp_path / "out")])
    printed = capsys.readouterr().out
    assert "layer 0, 1/4 of the width" in printed
    figures = json.loads(printed.splitlines()[-1])["layers"]
    assert figures.keys() == {"10", "90"}
    for rows in figures.values():
        assert len(rows) == 3
        assert all(up_to > alone > 0 for up_to, alone, _ in rows[1:])
        assert rows[0][0] == rows[0][1] > 0
