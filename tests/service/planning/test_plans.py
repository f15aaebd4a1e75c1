"""A plan holds all that was asked for."""

from model.geometry import Box, Size
from model.stream.container import read_header
from service.planning.identity import stream_name
from service.planning.plans import PLAIN, Finish, make_plan
from service.planning.sizing import View
from tests.service.fakes import stream

HEADER = read_header(stream((50, 40), (100, 80)))


def test_view_and_finish_are_in_the_plan() -> None:
    finish = Finish(rotation=90, mirror=True, gray=True, bitonal=True, background="#010203")
    plan = make_plan("id", HEADER, View(1, Size(20, 30), Box(1, 0, 3, 2)), "webp", 7, finish)
    assert (plan.picture, plan.format, plan.quality) == ("id", "webp", 7)
    assert plan.stream == stream_name(HEADER)
    assert (plan.layer, plan.size, plan.crop) == (1, Size(20, 30), Box(1, 0, 3, 2))
    assert all(getattr(plan, name) == value for name, value in vars(finish).items())


def test_unless_asked_nothing_is_done_to_the_pixels() -> None:
    view = View(0, Size(20, 30))
    assert make_plan("id", HEADER, view, "png", 100) == make_plan("id", HEADER, view, "png", 100, PLAIN)
    assert Finish() == PLAIN


def test_another_stream_under_the_same_id_is_another_answer() -> None:
    """As after a picture was deleted and coded anew, or refined."""
    view = View(0, Size(20, 30))
    other = read_header(stream((50, 40), (100, 80), quality=56))
    plans = [make_plan("id", header, view, "png", 100) for header in (HEADER, other)]
    assert plans[0].entity_tag != plans[1].entity_tag
    assert plans[0].key != plans[1].key
