"""Answers beside direct files, on small pictures and weights; and where operating points lie."""

import json
import math

import pytest
from PIL import Image

from benchmarks.measure.pictures import Picture
from benchmarks.quality import answers
from benchmarks.quality.answers import bytes_at, knee, rising, shown
from model.codec.codec import Codec
from tests.model.tiny import picture

QUALITIES = (10, 20, 30, 40)
DIRECT = [(100.0, 30.0), (200.0, 32.0), (400.0, 34.0), (800.0, 36.0)]


def test_bytes_between_two_points_of_a_curve():
    assert bytes_at(DIRECT, 32.0) == pytest.approx(200)
    assert bytes_at(DIRECT, 33.0) == pytest.approx(math.sqrt(200 * 400))
    assert math.isnan(bytes_at(DIRECT, 29.0))
    assert math.isnan(bytes_at(DIRECT, 36.1))


def test_an_answer_as_good_as_a_direct_file_is_worth_every_quality():
    assert knee(QUALITIES, DIRECT, DIRECT, 1.5) == 40


def test_the_point_lies_where_a_decibel_costs_the_limit():
    coded = [(100.0, 30.0), (200.0, 32.0), (600.0, 34.0), (1800.0, 35.0)]  # 1, 2 and more times the bytes
    assert knee(QUALITIES, coded, DIRECT, 1.5) == 20  # half way between the middles 15 and 25
    dear = [(100.0, 30.0), (500.0, 32.0), (900.0, 33.0), (1800.0, 34.0)]
    assert knee(QUALITIES, dear, DIRECT, 1.5) == 10


def test_a_quality_that_gains_nothing_is_not_taken():
    coded = [(100.0, 30.0), (200.0, 32.0), (300.0, 32.0), (400.0, 31.0)]
    assert knee(QUALITIES, coded, DIRECT, 99) == 20


def test_answers_worse_than_any_direct_file_are_passed_over():
    assert knee(QUALITIES, [(90.0, 29.0), *DIRECT[1:]], DIRECT, 1.5) == 40


def test_points_never_fall():
    assert rising([(10, 30), (20, 28), (30, 41)]) == [(10, 30), (20, 30), (30, 41)]


def test_what_is_shown_has_the_widths_that_the_picture_has(tiny_weights):
    codec = Codec.load(str(tiny_weights))
    found = shown(codec, Picture("p", picture(500, 300)), 60, (320, 400, 640, None))
    assert [(item.width, item.decoded.shape[:2]) for item in found] == [
        (320, (192, 320)),
        (400, (240, 400)),
        (None, (300, 500)),
    ]
    assert all(item.original.pixels.shape == item.decoded.shape for item in found)


@pytest.fixture
def run(tiny_weights, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(answers, "LADDERS", {"jpeg": (1, 30, 60, 100)})
    monkeypatch.setattr(answers, "STREAMS", (20, 80))
    Image.fromarray(picture(96, 64)).save(tmp_path / "a.png")

    def made(*options):
        common = ["--data", str(tmp_path), "--profile", str(tiny_weights), "--out", str(tmp_path / "out")]
        answers.main([*common, *map(str, options)])
        return capsys.readouterr().out

    return made


def test_the_table_of_answers_whole(run):
    printed = run("--stream", "60")
    figures = json.loads(printed.splitlines()[-1])["answers"]
    assert figures.keys() == {"jpeg whole"}
    assert figures["jpeg whole"]["bytes"] > 0
    assert "bytes over a direct file" in printed


def test_operating_points_whole(run, tmp_path):
    run("--points", tmp_path / "points.py", "--only", "jpeg")
    module: dict[str, object] = {}
    exec((tmp_path / "points.py").read_text(), module)
    points = module["POINTS"]["jpeg"]
    assert [stream for stream, _ in points] == [20, 80]
    assert all(1 <= quality <= 100 for _, quality in points)
