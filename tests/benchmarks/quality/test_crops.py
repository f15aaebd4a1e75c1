"""The drawings of crops: equal bytes, the right pixels in the right place, the command whole."""

import json

import numpy as np
import pytest
from PIL import Image

from benchmarks.measure.classic import CLASSIC_CODECS
from benchmarks.measure.pictures import Picture
from benchmarks.quality import crops
from benchmarks.quality.crops import RIVALS, Shown, best_within, draw, of_files
from model.geometry import Box
from tests.model.tiny import picture


@pytest.mark.parametrize("codec", RIVALS, ids=lambda codec: codec.name)
def test_the_best_quality_within_a_limit(codec):
    pixels = picture(64, 48)
    sizes = {quality: len(codec.encode(pixels, quality)) for quality in (1, 40, 41)}
    assert len(best_within(codec, pixels, sizes[40])) <= sizes[40]
    assert len(best_within(codec, pixels, sizes[41])) >= sizes[40]
    assert len(best_within(codec, pixels, 1)) == sizes[1]


def test_files_share_the_bytes_of_the_stream():
    jpeg = next(codec for codec in CLASSIC_CODECS if codec.name == "jpeg")
    ends = [800, 2800, 9000]
    shown = of_files(jpeg, Picture("p", picture(160, 120)), ends)
    assert [s.pixels.shape for s in shown] == [(30, 40, 3), (60, 80, 3), (120, 160, 3)]
    for one, end in zip(shown, ends, strict=True):
        assert 0.7 * end < one.size <= end


def test_a_drawing_has_the_crops_at_one_size():
    small, large = picture(40, 30), picture(80, 60)
    box = Box(20, 40, 52, 72)
    columns = [[Shown("A", small, 10, 20.0), Shown("A", large, 30, 21.0)]] * 2
    sheet = np.asarray(draw(Picture("p", large), box, columns))
    height = 32 + crops._CAPTION
    assert sheet.shape == (2 * height, 2 * 32 + crops._GAP, 3)
    assert np.array_equal(sheet[height + crops._CAPTION :, :32], large[20:52, 40:72])
    enlarged = small[10:26, 20:36].repeat(2, 0).repeat(2, 1)
    assert np.array_equal(sheet[crops._CAPTION : height, -32:], enlarged)
    assert sheet[: crops._CAPTION].min() < 100  # the caption


@pytest.mark.slow
def test_whole(tiny_weights, tmp_path, capsys):
    for name in ("kodim07", "kodim08"):
        Image.fromarray(picture(768, 512)).save(tmp_path / f"{name}.png")
    out = tmp_path / "out"
    common = ["--data", str(tmp_path), "--profile", str(tiny_weights), "--quality", "60"]
    crops.main([*common, "--out", str(out), "--tables", str(out)])
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])["crops"]
    assert figures.keys() == {"kodim07"}
    assert figures["kodim07"].keys() == {"COMPASS", "AVIF", "JPEG"}
    for ours, theirs in zip(figures["kodim07"]["COMPASS"], figures["kodim07"]["JPEG"], strict=True):
        assert theirs[0] <= ours[0]
    width = crops.CROPS["kodim07"].size.width
    assert Image.open(out / "crops-kodim07.png").width == 3 * width + 2 * crops._GAP
