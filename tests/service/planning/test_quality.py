"""Which quality an answer is written with."""

from itertools import pairwise

import pytest

from service.planning.formats import MEDIA_TYPES
from service.planning.points import POINTS
from service.planning.quality import LEAST, SAVING, QualityWish, as_module, operating_point, output_quality


@pytest.mark.parametrize(
    ("stream", "answer"), [(1, 30), (20, 30), (30, 40), (39, 49), (40, 50), (50, 50), (60, 50), (99, 50)]
)
def test_between_two_points_lies_a_line_and_beyond_them_the_last(stream, answer):
    assert operating_point(((20, 30), (40, 50), (60, 50)), stream) == answer


def test_one_point_is_for_all_streams():
    assert {operating_point(((55, 65),), stream) for stream in (1, 55, 100)} == {65}


def test_what_a_request_or_the_settings_say_comes_first():
    point = output_quality("avif", 55)
    assert output_quality("avif", 55, QualityWish(7), fixed=30) == 7
    assert output_quality("avif", 55, QualityWish(7, saving=True)) == 7
    assert output_quality("avif", 55, fixed=30) == 30
    assert output_quality("avif", 55, QualityWish(saving=True)) == point - SAVING
    assert output_quality("avif", 55, QualityWish(saving=True), fixed=3) == 1
    assert output_quality("png", 55, QualityWish(7, saving=True), fixed=30) == 100


def test_no_answer_is_so_bad_that_its_format_shows():
    for name in POINTS:
        assert min(output_quality(name, stream) for stream in range(1, 101)) >= LEAST
    assert output_quality("jpeg", 80, QualityWish(LEAST - 1)) == LEAST - 1


def test_every_lossy_format_has_points_that_rise():
    assert POINTS.keys() == MEDIA_TYPES.keys() - {"png"}
    for points in POINTS.values():
        assert all(low < high and first <= last for (low, first), (high, last) in pairwise(points))
        assert all(1 <= number <= 100 for point in points for number in point)


def test_the_table_is_printed_as_it_is_read():
    module: dict[str, object] = {}
    exec(as_module({"avif": [(1, 2)], "jpeg": [(3, 4), (5, 6)]}, "Made so."), module)
    assert module["POINTS"] == {"avif": ((1, 2),), "jpeg": ((3, 4), (5, 6))}
