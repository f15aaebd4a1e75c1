"""A plan holds all that was asked for."""

from model.stream.container import read_header
from service.planning.plans import PLAIN, Finish, make_plan
from service.planning.sizing import View
from tests.service.fakes import MODEL_ID, stream

HEADER = read_header(stream((50, 40), (100, 80)))


def test_view_and_finish_are_in_the_plan() -> None:
    finish = Finish(rotation=90, mirror=True, gray=True, bitonal=True, background="#010203")
    plan = make_plan("id", HEADER, View(1, (30, 20), (0, 1, 2, 3)), "webp", 7, finish)
    assert (plan.picture, plan.model, plan.format, plan.quality) == ("id", MODEL_ID.hex(), "webp", 7)
    assert (plan.layer, plan.size, plan.crop) == (1, (30, 20), (0, 1, 2, 3))
    assert all(getattr(plan, name) == value for name, value in vars(finish).items())


def test_unless_asked_nothing_is_done_to_the_pixels() -> None:
    view = View(0, (30, 20))
    assert make_plan("id", HEADER, view, "png", 100) == make_plan("id", HEADER, view, "png", 100, PLAIN)
    assert Finish() == PLAIN
