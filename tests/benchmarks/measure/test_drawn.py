"""Drawings are the same each time, and of the sizes that tables tell."""

import numpy as np
import pytest

from benchmarks.measure.drawn import DRAWN, drawn

SMALL = [name for name in DRAWN if name not in ("page of text", "scanned text", "screenshot", "panorama")]


@pytest.mark.parametrize("name", SMALL)
def test_drawn_twice_is_the_same(name):
    one, other = drawn(name), drawn(name)
    assert one.name == name
    assert one.pixels.dtype == np.uint8
    assert np.array_equal(one.pixels, other.pixels)
    assert one.pixels.std() > 1


def test_sizes():
    assert drawn("screenshot").size == (900, 1440)
    assert drawn("icon").size == drawn("small photograph").size == (30, 40)
    assert drawn("panorama").size.width == 10 * drawn("panorama").size.height


def test_the_dark_one_is_dark():
    assert drawn("dark photograph").pixels.mean() < 50 < drawn("photograph").pixels.mean()
