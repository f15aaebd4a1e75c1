"""Which layers a picture gets."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.geometry import Size
from model.stream.container import MAX_LAYERS
from model.stream.ladder import MIN_STEP, layer_sizes

LARGE = Size(2000, 3000)


def test_layers_below_the_picture():
    assert layer_sizes(LARGE, [320, 640, 1280]) == [Size(213, 320), Size(427, 640), Size(853, 1280), LARGE]


def test_order_and_repetition_do_not_matter():
    assert layer_sizes(LARGE, [1280, 320, 320, 640]) == layer_sizes(LARGE, [320, 640, 1280])


def test_wider_layers_are_left_out():
    assert layer_sizes(Size(400, 600), [320, 640]) == [Size(213, 320), Size(400, 600)]
    assert layer_sizes(Size(200, 320), [320]) == [Size(200, 320)]


def test_layers_too_close_to_the_next_are_left_out():
    assert layer_sizes(Size(1000, 1000), [900]) == [Size(1000, 1000)]
    assert layer_sizes(Size(10, 1300), [1000]) == [Size(8, 1000), Size(10, 1300)]
    assert layer_sizes(Size(10, 1299), [1000]) == [Size(10, 1299)]


def test_a_picture_too_flat_keeps_a_row():
    assert layer_sizes(Size(1, 10000), [320, 640]) == [Size(1, 320), Size(1, 640), Size(1, 10000)]


@pytest.mark.parametrize(
    ("size", "widths"), [(Size(5, 0), [3]), (Size(0, 5), [3]), (Size(5, 5), [0]), (Size(5, 5), [-3])]
)
def test_sizes_below_one(size, widths):
    with pytest.raises(ValueError):
        layer_sizes(size, widths)


@given(
    st.builds(Size, st.integers(1, 65535), st.integers(1, 65535)),
    st.lists(st.integers(1, 70000), max_size=40),
)
def test_every_ladder_is_one_that_a_stream_can_hold(size, widths):
    sizes = layer_sizes(size, widths)
    assert sizes[-1] == size
    assert len(sizes) <= MAX_LAYERS
    for small, large in pairwise(sizes):
        assert 1 <= small.width * MIN_STEP <= large.width
        assert 1 <= small.height <= large.height
