"""Encoders side by side, on small pictures and weights."""

import json

import pytest
from PIL import Image

from benchmarks.measure.pictures import Picture
from benchmarks.quality import encoders
from benchmarks.quality.encoders import USED, curve, described, encoder
from service.worker import imagefile
from tests.model.tiny import picture


def test_a_slower_encoder_takes_fewer_bytes_of_the_same_pixels():
    pictures = [Picture("one", picture(160, 120))]
    slow, fast = (curve(encoder("webp", {"method": method}), pictures) for method in (6, 0))
    assert [decibels for _, decibels in slow.points] == sorted(decibels for _, decibels in slow.points)
    assert sum(size for size, _ in slow.points) < sum(size for size, _ in fast.points)
    assert slow.seconds_at(slow.points[3][1]) == pytest.approx(slow.seconds[3])


def test_what_is_used_is_what_answers_are_written_with(monkeypatch):
    """As far as it is Pillow's: the options that the service gives, without quality, sampling and threads."""
    given = {}
    save = Image.Image.save

    def seen(image, file, kind, **options):
        given.setdefault(kind, options)
        return save(image, file, kind, **options)

    monkeypatch.setattr(Image.Image, "save", seen)
    for name, used in USED.items():
        imagefile.write(Image.fromarray(picture(64, 48)), name, 60)
        assert {key: given[name].get(key) for key in used} == used, name


def test_options_are_read_by_people():
    assert described({"speed": 8, "advanced": {"tune": "psnr"}}) == "speed 8, tune psnr"
    assert described({}) == "as Pillow does by itself"


def test_the_command_prints_a_table(tiny_weights, tmp_path, capsys, monkeypatch):
    for number in range(2):
        Image.fromarray(picture(96, 64, number)).save(tmp_path / f"{number}.png")
    monkeypatch.setattr(encoders, "OTHERS", {"avif": ({"speed": 9},), "jpeg": ({},), "webp": ()})
    monkeypatch.setattr(
        encoders, "LADDERS", {"avif": (20, 60, 90), "jpeg": (20, 60, 95), "webp": (20, 60, 95)}
    )
    encoders.main(["--data", str(tmp_path), "--profile", str(tiny_weights), "--out", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    found = json.loads(lines[-1])["encoders"]
    assert found["AVIF: speed 8"]["bytes"] == found["WEBP: method 3"]["bytes"] == 100
    assert found["JPEG: as Pillow does by itself"]["bytes"] > 100
    assert sum(line.startswith("| ") and "used" in line for line in lines) == 3
