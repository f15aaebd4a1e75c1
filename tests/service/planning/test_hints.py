"""What browsers say of themselves, and when it counts."""

import pytest

from service.planning.hints import DPR, SAVE_DATA, WIDTH, Hinted, hinted
from service.planning.sizing import Wanted

ALL = {DPR: "2.5", WIDTH: "731", SAVE_DATA: "on"}


@pytest.mark.parametrize(
    ("wanted", "dpr_given", "quality_given", "expected"),
    [
        (Wanted(), False, False, Hinted(Wanted(width=731), True, (WIDTH, SAVE_DATA))),
        (Wanted(), False, True, Hinted(Wanted(width=731), False, (WIDTH,))),
        (Wanted(dpr=2), True, True, Hinted(Wanted(width=731), False, (WIDTH,))),
        (Wanted(width=100), False, True, Hinted(Wanted(width=100, dpr=2.5), False, (DPR,))),
        (Wanted(height=100), False, False, Hinted(Wanted(height=100, dpr=2.5), True, (DPR, SAVE_DATA))),
        (Wanted(width=100, dpr=1), True, True, Hinted(Wanted(width=100), False, ())),
        (Wanted(layer=1), False, True, Hinted(Wanted(layer=1), False, ())),
        (Wanted(layer=1), False, False, Hinted(Wanted(layer=1), True, (SAVE_DATA,))),
    ],
)
def test_hints_fill_in_what_the_url_leaves_open(wanted, dpr_given, quality_given, expected):
    assert hinted(wanted, dpr_given, quality_given, ALL) == expected


def test_an_answer_varies_by_what_was_not_sent_too():
    assert hinted(Wanted(), False, False, {}) == Hinted(Wanted(), False, (WIDTH, SAVE_DATA))
    assert hinted(Wanted(width=9), False, False, {}).vary == (DPR, SAVE_DATA)


@pytest.mark.parametrize("text", ["", "x", "nan", "inf", "-1", "0", "1e9", "2,3", "9" * 5000])
def test_hints_that_make_no_sense_are_as_if_not_sent(text):
    assert hinted(Wanted(), False, True, {WIDTH: text}).wanted == Wanted()
    assert hinted(Wanted(width=9), False, True, {DPR: text}).wanted == Wanted(width=9)
    assert not hinted(Wanted(), False, False, {SAVE_DATA: text}).saving


def test_half_a_pixel_is_rounded_up():
    assert hinted(Wanted(), False, True, {WIDTH: "100.2"}).wanted.width == 101
