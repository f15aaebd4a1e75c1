"""Which layers a picture gets."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.geometry import Size
from model.stream.container import MAX_LAYERS
from model.stream.ladder import MIN_STEP, Ladder

LARGE = Size(2000, 3000)


def test_layers_below_the_picture():
    assert Ladder((320, 640, 1280)).sizes(LARGE) == [Size(213, 320), Size(427, 640), Size(853, 1280), LARGE]


def test_order_and_repetition_do_not_matter():
    assert Ladder((1280, 320, 320, 640)).sizes(LARGE) == Ladder((320, 640, 1280)).sizes(LARGE)


def test_wider_layers_are_left_out():
    assert Ladder((320, 640)).sizes(Size(400, 600)) == [Size(213, 320), Size(400, 600)]
    assert Ladder((320,)).sizes(Size(200, 320)) == [Size(200, 320)]


def test_layers_too_close_to_the_next_are_left_out():
    assert Ladder((900,)).sizes(Size(1000, 1000)) == [Size(1000, 1000)]
    assert Ladder((1000,)).sizes(Size(10, 1300)) == [Size(8, 1000), Size(10, 1300)]
    assert Ladder((1000,)).sizes(Size(10, 1299)) == [Size(10, 1299)]


def test_one_layer_below_a_width():
    ladder = Ladder((100, 320), single_below=512)
    assert ladder.sizes(Size(400, 511)) == [Size(400, 511)]
    assert ladder.sizes(Size(400, 512)) == [Size(78, 100), Size(250, 320), Size(400, 512)]


def test_a_picture_too_flat_keeps_a_row():
    assert Ladder((320, 640)).sizes(Size(1, 10000)) == [Size(1, 320), Size(1, 640), Size(1, 10000)]


@pytest.mark.parametrize(
    ("size", "widths"), [(Size(5, 0), [3]), (Size(0, 5), [3]), (Size(5, 5), [0]), (Size(5, 5), [-3])]
)
def test_sizes_below_one(size, widths):
    with pytest.raises(ValueError):
        Ladder(tuple(widths)).sizes(size)


@given(
    st.builds(Size, st.integers(1, 65535), st.integers(1, 65535)),
    st.lists(st.integers(1, 70000), max_size=40),
)
def test_every_ladder_is_one_that_a_stream_can_hold(size, widths):
    sizes = Ladder(tuple(widths)).sizes(size)
    assert sizes[-1] == size
    assert len(sizes) <= MAX_LAYERS
    for small, large in pairwise(sizes):
        assert 1 <= small.width * MIN_STEP <= large.width
        assert 1 <= small.height <= large.height
