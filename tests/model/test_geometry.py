"""Boxes, and which inputs an output depends on, against counting them out."""

from hypothesis import given
from hypothesis import strategies as st

from model.geometry import (
    Box,
    Size,
    coarse,
    divide,
    fine,
    grow,
    halved,
    inputs_of_down,
    inputs_of_up,
    nearest_pixels,
    pieces,
    whole,
)

EDGES = st.integers(1, 90)
SIZES = st.builds(Size, EDGES, EDGES)


@st.composite
def boxes(draw, size):
    """A box that is not empty, of a picture of that size."""
    top, left = draw(st.integers(0, size[0] - 1)), draw(st.integers(0, size[1] - 1))
    return Box(top, left, draw(st.integers(top + 1, size[0])), draw(st.integers(left + 1, size[1])))


@st.composite
def sized_boxes(draw):
    """A size and a box in it."""
    size = draw(SIZES)
    return size, draw(boxes(size))


def test_box():
    box = Box(2, 3, 5, 9)
    assert box.size == Size(3, 6)
    assert (box.rows, box.columns) == ((2, 5), (3, 9))
    assert box.inside(Box(1, 1, 10, 10)) == (slice(1, 4), slice(2, 8))
    assert box.within(Size(5, 9))
    assert not box.within(Size(4, 9))
    assert not box.within(Size(5, 8))
    assert not Box(2, 3, 2, 9).within(Size(5, 9))
    assert not Box(-1, 0, 2, 2).within(Size(5, 9))
    assert whole(Size(4, 7)) == Box(0, 0, 4, 7)


@given(SIZES, st.integers(0, 6))
def test_halving_pads_each_odd_edge(size, times):
    expected = size
    for _ in range(times):
        expected = ((expected[0] + 1) // 2, (expected[1] + 1) // 2)
    assert halved(size, times) == expected
    assert halved(size, times) == tuple(-(-edge // 2**times) for edge in size)


def test_grow():
    assert grow(Box(2, 3, 5, 6), 2, Size(6, 10)) == Box(0, 1, 6, 8)


@given(sized_boxes())
def test_inputs_of_up(case):
    """Input i of the transposed convolution reaches outputs 2 i - 2 to 2 i + 2."""
    size, _ = case
    output = Size(2 * size[0], 2 * size[1])
    for box in (whole(output), Box(0, 0, 1, 1), Box(output[0] - 1, output[1] - 1, *output), case[1]):
        rows = [i for i in range(size[0]) if 2 * i + 2 >= box.top and 2 * i - 2 < box.bottom]
        columns = [i for i in range(size[1]) if 2 * i + 2 >= box.left and 2 * i - 2 < box.right]
        assert inputs_of_up(box, size) == Box(rows[0], columns[0], rows[-1] + 1, columns[-1] + 1)


@given(sized_boxes())
def test_inputs_of_down(case):
    """Output o of the convolution sees inputs 2 o - 2 to 2 o + 2; the first is made even."""
    output, box = case
    for size in (Size(2 * output[0], 2 * output[1]), Size(2 * output[0] - 1, 2 * output[1] - 1)):
        inputs = inputs_of_down(box, size)
        rows = [i for i in range(size[0]) if 2 * box.top - 2 <= i <= 2 * (box.bottom - 1) + 2]
        columns = [i for i in range(size[1]) if 2 * box.left - 2 <= i <= 2 * (box.right - 1) + 2]
        assert inputs == Box(rows[0], columns[0], rows[-1] + 1, columns[-1] + 1)
        assert inputs.top % 2 == inputs.left % 2 == 0


@given(st.data(), SIZES)
def test_nearest_pixels(data, small):
    large = Size(*(edge + data.draw(st.integers(0, 60)) for edge in small))
    box = data.draw(boxes(large))
    inputs = nearest_pixels(box, small, large)
    for axis, (first, end), (low, high) in (
        (0, box.rows, inputs.rows),
        (1, box.columns, inputs.columns),
    ):
        nearest = [int((i + 0.5) * small[axis] / large[axis] + 1e-9) for i in range(first, end)]
        assert (low, high) == (nearest[0], nearest[-1] + 1)


@given(sized_boxes(), st.integers(1, 40))
def test_parts_cover_a_box_once_and_follow_the_grid(case, edge):
    _, box = case
    cells: set[tuple[int, int]] = set()
    for part in divide(box, edge):
        assert coarse(part, edge).size == Size(1, 1)
        inside = {(y, x) for y in range(*part.rows) for x in range(*part.columns)}
        assert inside
        assert not inside & cells
        cells |= inside
    assert cells == {(y, x) for y in range(*box.rows) for x in range(*box.columns)}


@given(sized_boxes(), st.integers(1, 5000), st.sampled_from([1, 16]))
def test_pieces_cover_a_box_once(case, area, step):
    _, box = case
    seen = set()
    for part in pieces(box, area, step):
        assert part.within(Size(box.bottom, box.right))
        cells = {(y, x) for y in range(*part.rows) for x in range(*part.columns)}
        assert not cells & seen
        seen |= cells
    assert seen == {(y, x) for y in range(*box.rows) for x in range(*box.columns)}


def test_pieces_are_bounded_and_about_square():
    """Four or two for threads, of small pictures one; a long row is cut, too."""
    sizes = [str(part.size) for part in pieces(whole(Size(1080, 1920)), 2**20, 16)]
    assert sizes == ["960x528", "960x528", "960x552", "960x552"]
    assert len(pieces(whole(Size(540, 960)), 2**20, 16)) == 2
    assert len(pieces(whole(Size(300, 400)), 2**20, 16)) == 1
    long = pieces(whole(Size(64, 65000)), 2**20, 16)
    assert max(part.size.area for part in long) <= 2**20 * 1.1
    large = [part.size for part in pieces(whole(Size(6000, 8000)), 2**20, 16)]
    assert max(size.area for size in large) <= 2**20 * 1.1
    assert all(1 / 2 < size.width / size.height < 2.2 for size in large)
    assert len(large) < 60


def test_pillow_has_the_left_first():
    box = Box(1, 2, 30, 40)
    assert box.edges == (2, 1, 40, 30)
    assert box.shifted(-1, 5) == Box(0, 7, 29, 45)
    assert box.shifted(-1, 5).size == box.size


@given(sized_boxes(), st.integers(1, 40))
def test_coarse_and_fine(case, step):
    size, box = case
    cells = coarse(box, step)
    covered = fine(cells, step, size)
    assert covered.within(size)
    assert covered.top <= box.top < covered.top + step
    assert covered.left <= box.left < covered.left + step
    assert box.bottom <= covered.bottom < box.bottom + step
    assert box.right <= covered.right < box.right + step
