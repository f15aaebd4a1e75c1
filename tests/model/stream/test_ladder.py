"""Which layers a picture gets."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.stream.container import MAX_LAYERS
from model.stream.ladder import MIN_STEP, layer_sizes


def test_layers_below_the_picture():
    assert layer_sizes((3000, 2000), [320, 640, 1280]) == [(320, 213), (640, 427), (1280, 853), (3000, 2000)]


def test_order_and_repetition_do_not_matter():
    assert layer_sizes((3000, 2000), [1280, 320, 320, 640]) == layer_sizes((3000, 2000), [320, 640, 1280])


def test_wider_layers_are_left_out():
    assert layer_sizes((600, 400), [320, 640]) == [(320, 213), (600, 400)]
    assert layer_sizes((320, 200), [320]) == [(320, 200)]


def test_layers_too_close_to_the_next_are_left_out():
    assert layer_sizes((1000, 1000), [900]) == [(1000, 1000)]
    assert layer_sizes((1300, 10), [1000]) == [(1000, 8), (1300, 10)]
    assert layer_sizes((1299, 10), [1000]) == [(1299, 10)]


def test_a_picture_too_flat_keeps_a_row():
    assert layer_sizes((10000, 1), [320, 640]) == [(320, 1), (640, 1), (10000, 1)]


@pytest.mark.parametrize(("size", "widths"), [((0, 5), [3]), ((5, 0), [3]), ((5, 5), [0]), ((5, 5), [-3])])
def test_sizes_below_one(size, widths):
    with pytest.raises(ValueError):
        layer_sizes(size, widths)


@given(
    st.tuples(st.integers(1, 65535), st.integers(1, 65535)),
    st.lists(st.integers(1, 70000), max_size=40),
)
def test_every_ladder_is_one_that_a_stream_can_hold(size, widths):
    sizes = layer_sizes(size, widths)
    assert sizes[-1] == size
    assert len(sizes) <= MAX_LAYERS
    for small, large in pairwise(sizes):
        assert 1 <= small[0] * MIN_STEP <= large[0]
        assert 1 <= small[1] <= large[1]
