"""Sizes and boxes, of pixels, latents or tiles, and which inputs a box of outputs depends on. No torch.

Every transform of the codec can be evaluated on a part of the picture: to get a box of its output it is
given the box of inputs that this depends on, and the result is what the whole picture would give there.

Heights come before widths everywhere, as in arrays. Pillow, HTTP and the stream's header put the width
first; the conversion happens where they are called.
"""

from collections.abc import Iterator
from itertools import pairwise
from math import isqrt
from typing import NamedTuple


class Size(NamedTuple):
    """Rows and columns of a picture, in pixels, or of a grid of latents or tiles."""

    height: int
    width: int

    @property
    def area(self) -> int:
        """Rows times columns."""
        return self.height * self.width

    def __str__(self) -> str:
        """As people write it: WIDTHxHEIGHT."""
        return f"{self.width}x{self.height}"


class Box(NamedTuple):
    """Rows ``top`` to ``bottom`` and columns ``left`` to ``right``, ends excluded."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def size(self) -> Size:
        """How many rows and columns the box has."""
        return Size(self.bottom - self.top, self.right - self.left)

    @property
    def rows(self) -> tuple[int, int]:
        """The first row, and the row after the last."""
        return self.top, self.bottom

    @property
    def columns(self) -> tuple[int, int]:
        """The first column, and the column after the last."""
        return self.left, self.right

    @property
    def slices(self) -> tuple[slice, slice]:
        """The slices that cut this box out of an array that holds the whole."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def inside(self, outer: "Box") -> tuple[slice, slice]:
        """The slices that cut this box out of an array that holds ``outer``."""
        return (
            slice(self.top - outer.top, self.bottom - outer.top),
            slice(self.left - outer.left, self.right - outer.left),
        )

    @property
    def edges(self) -> tuple[int, int, int, int]:
        """(left, top, right, bottom): the box as Pillow wants it."""
        return self.left, self.top, self.right, self.bottom

    def shifted(self, down: int, right: int) -> "Box":
        """The box so many rows further down and columns further right."""
        return Box(self.top + down, self.left + right, self.bottom + down, self.right + right)

    def within(self, size: Size) -> bool:
        """Whether the box is not empty and lies in a picture of that size."""
        return 0 <= self.top < self.bottom <= size.height and 0 <= self.left < self.right <= size.width

    def clipped(self, size: Size) -> "Box":
        """The part of the box that lies in a picture of that size."""
        return Box(
            max(0, self.top), max(0, self.left), min(self.bottom, size.height), min(self.right, size.width)
        )

    def times(self, factor: int) -> "Box":
        """What the box covers where everything is ``factor`` times as large."""
        return Box(*(factor * edge for edge in self))


def whole(size: Size) -> Box:
    """The box of a whole picture."""
    return Box(0, 0, *size)


def halved(size: Size, times: int) -> Size:
    """The size after ``times`` convolutions of stride 2, each of which pads an odd edge by one."""
    return Size(-(-size.height >> times), -(-size.width >> times))


def grow(box: Box, margin: int, size: Size) -> Box:
    """``box`` with ``margin`` more on each side, clipped to the picture."""
    return Box(box.top - margin, box.left - margin, box.bottom + margin, box.right + margin).clipped(size)


def inputs_of_up(box: Box, size: Size) -> Box:
    """The inputs of a 5 x 5 transposed convolution of stride 2 for a box of outputs.

    ``size`` is the size of the whole input. Output o depends on the inputs (o - 2) / 2 to (o + 2) / 2.
    """
    return Box(
        (box.top - 1) // 2, (box.left - 1) // 2, (box.bottom + 1) // 2 + 1, (box.right + 1) // 2 + 1
    ).clipped(size)


class PriorBoxes(NamedTuple):
    """What each layer of the hyper-synthesis has to give for the priors of a ``wanted`` box of latents.

    ``outer`` are positions of latents, ``middle`` positions of twice their size, ``inner`` hyper-latents.
    """

    wanted: Box
    outer: Box
    middle: Box
    inner: Box


def prior_boxes(wanted: Box, size: Size) -> PriorBoxes:
    """The boxes for latents of a layer of ``size`` pixels."""
    outer = grow(wanted, 1, halved(size, 4))
    middle = inputs_of_up(outer, halved(size, 5))
    return PriorBoxes(wanted, outer, middle, inputs_of_up(middle, halved(size, 6)))


def inputs_of_down(box: Box, size: Size) -> Box:
    """The inputs of a 5 x 5 convolution of stride 2 for a box of outputs: 2 o - 2 to 2 o + 2.

    The first row and column are even, so that the strides of a part fall on those of the whole.
    """
    return Box(2 * box.top - 2, 2 * box.left - 2, 2 * box.bottom + 1, 2 * box.right + 1).clipped(size)


def nearest_pixels(box: Box, small: Size, large: Size) -> Box:
    """The pixels of the small picture that are nearest to a box of the enlarged one."""

    def nearest(at: int, small_edge: int, large_edge: int) -> int:
        return (2 * at + 1) * small_edge // (2 * large_edge)

    return Box(
        nearest(box.top, small.height, large.height),
        nearest(box.left, small.width, large.width),
        nearest(box.bottom - 1, small.height, large.height) + 1,
        nearest(box.right - 1, small.width, large.width) + 1,
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


def pieces(box: Box, area: int, step: int) -> list[Box]:
    """``box`` in parts of at most about ``area``, cut at multiples of ``step`` where that is possible.

    About square, because what is computed around a part, and cut off, lies along its edges. Threads share the
    work: there are four at least where each has half of ``area``, two where each has an eighth. The same for
    any number of threads.
    """
    whole_area = box.size.area
    count = max(-(-whole_area // area), min(2, 8 * whole_area // area), min(4, 2 * whole_area // area))
    columns = -(-box.size.width // (isqrt(2 * whole_area // count) + 1))  # at most twice as wide as high
    rows = -(-count // columns)
    return [
        Box(top, left, bottom, right)
        for top, bottom in _cuts(box.top, box.bottom, rows, step)
        for left, right in _cuts(box.left, box.right, columns, step)
    ]


def _cuts(start: int, end: int, count: int, step: int) -> list[tuple[int, int]]:
    """``start`` to ``end`` in about ``count`` parts that are not empty."""
    inner = {(start + (end - start) * i // count) // step * step for i in range(1, count)}
    edges = [start, *sorted(at for at in inner if start < at < end), end]
    return list(pairwise(edges))


def coarse(box: Box, step: int) -> Box:
    """The cells of ``step`` x ``step`` that ``box`` touches."""
    return Box(box.top // step, box.left // step, -(-box.bottom // step), -(-box.right // step))


def fine(box: Box, step: int, size: Size) -> Box:
    """The part of a picture that the cells ``box`` of ``step`` x ``step`` cover."""
    return box.times(step).clipped(size)
