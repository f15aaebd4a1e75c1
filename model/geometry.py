"""Boxes of pixels or latents, and which inputs a box of outputs depends on. No torch.

Every transform of the codec can be evaluated on a part of the picture: to get a box of its output
it is given the box of inputs below, and the result is what the whole picture would give there.
"""

from collections.abc import Iterator
from typing import NamedTuple

Size = tuple[int, int]
"""(height, width)."""


class Box(NamedTuple):
    """Rows ``top`` to ``bottom`` and columns ``left`` to ``right``, ends excluded."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def size(self) -> Size:
        """(height, width)."""
        return self.bottom - self.top, self.right - self.left

    @property
    def rows(self) -> tuple[int, int]:
        """First row and the row after the last."""
        return self.top, self.bottom

    @property
    def columns(self) -> tuple[int, int]:
        """First column and the column after the last."""
        return self.left, self.right

    def inside(self, outer: "Box") -> tuple[slice, slice]:
        """Slices that cut this box out of an array that holds ``outer``."""
        return (
            slice(self.top - outer.top, self.bottom - outer.top),
            slice(self.left - outer.left, self.right - outer.left),
        )

    def within(self, size: Size) -> bool:
        """Whether the box is not empty and lies in a picture of that size."""
        return 0 <= self.top < self.bottom <= size[0] and 0 <= self.left < self.right <= size[1]


def whole(size: Size) -> Box:
    """The box of a whole picture."""
    return Box(0, 0, *size)


def halved(size: Size, times: int) -> Size:
    """The size after ``times`` stride-2 convolutions, each padding an odd edge by one."""
    return -(-size[0] >> times), -(-size[1] >> times)


def grow(box: Box, margin: int, size: Size) -> Box:
    """``box`` with ``margin`` more on each side, clipped to the picture."""
    return Box(
        max(0, box.top - margin),
        max(0, box.left - margin),
        min(size[0], box.bottom + margin),
        min(size[1], box.right + margin),
    )


def inputs_of_up(box: Box, size: Size) -> Box:
    """Inputs of a 5 x 5 stride-2 transposed convolution for a box of outputs.

    ``size`` is that of the whole input. Output o sees inputs (o - 2) / 2 to (o + 2) / 2.
    """
    return Box(
        max(0, (box.top - 1) // 2),
        max(0, (box.left - 1) // 2),
        min(size[0], (box.bottom + 1) // 2 + 1),
        min(size[1], (box.right + 1) // 2 + 1),
    )


def inputs_of_down(box: Box, size: Size) -> Box:
    """Inputs of a 5 x 5 stride-2 convolution for a box of outputs: 2 o - 2 to 2 o + 2.

    The first row and column are made even, so that the strides of part and whole fall together.
    """
    return Box(
        max(0, 2 * box.top - 2),
        max(0, 2 * box.left - 2),
        min(size[0], 2 * box.bottom + 1),
        min(size[1], 2 * box.right + 1),
    )


def nearest_pixels(box: Box, small: Size, large: Size) -> Box:
    """The pixels of the small picture that are nearest to a box of the enlarged one."""

    def nearest(at: int, axis: int) -> int:
        return (2 * at + 1) * small[axis] // (2 * large[axis])

    return Box(
        nearest(box.top, 0),
        nearest(box.left, 1),
        nearest(box.bottom - 1, 0) + 1,
        nearest(box.right - 1, 1) + 1,
    )


def divide(box: Box, edge: int) -> Iterator[Box]:
    """The parts of ``box`` in a fixed grid of ``edge`` x ``edge`` cells, row by row."""
    for top in range(box.top - box.top % edge, box.bottom, edge):
        for left in range(box.left - box.left % edge, box.right, edge):
            yield Box(
                max(top, box.top),
                max(left, box.left),
                min(top + edge, box.bottom),
                min(left + edge, box.right),
            )


def coarse(box: Box, step: int) -> Box:
    """The cells of ``step`` x ``step`` that ``box`` touches."""
    return Box(box.top // step, box.left // step, -(-box.bottom // step), -(-box.right // step))


def fine(box: Box, step: int, size: Size) -> Box:
    """What the cells ``box`` of ``step`` x ``step`` cover of a picture."""
    return Box(
        box.top * step,
        box.left * step,
        min(box.bottom * step, size[0]),
        min(box.right * step, size[1]),
    )
