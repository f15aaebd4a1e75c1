"""What is noise between turns, and what is not."""

import pytest

from benchmarks.load.refining import slower_by

OTHERS = [0.30, 0.28, 0.33, 0.29, 0.31, 0.28, 0.35, 0.30]


def test_every_turn_slower_is_no_chance():
    difference, chance = slower_by([seconds + 0.02 for seconds in OTHERS], OTHERS)
    assert difference == pytest.approx(0.02)
    assert chance == pytest.approx(2**-8)


def test_turns_that_differ_both_ways_may_be_chance():
    difference, chance = slower_by(OTHERS[::-1], OTHERS)
    assert difference == pytest.approx(0)
    assert chance > 0.4
