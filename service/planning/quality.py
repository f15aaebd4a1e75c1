"""With which quality an answer is written: as high as its stream is worth, and no higher.

A stored stream has noise of its own. An answer that reproduces it exactly spends bytes on that noise: a
further decibel against the original costs more and more, compared with what it costs in a file that is made
of the original. Where it costs :data:`LIMIT` times as much, the operating point lies.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from service.planning.points import POINTS

LIMIT = 1.6
"""Bytes of a further decibel in an answer over those in a file of the original, at the operating point."""
LEAST = 40
"""No lower is an answer's quality unless that is asked for: the format's own blocks would show."""
SAVING = 15
"""So much lower is the quality for a client that wants to save data."""


@dataclass(frozen=True)
class QualityWish:
    """What a request says of its answer's quality: 1-100 (None: nothing), and whether to save bytes."""

    wanted: int | None = None
    saving: bool = False


ANY = QualityWish()
"""Nothing is said of it."""


def output_quality(name: str, stream: int, wish: QualityWish = ANY, fixed: int | None = None) -> int:
    """The quality, 1-100, with which an answer is written in a format; 100 for PNG, which has none.

    ``name`` is one of :data:`service.planning.formats.MEDIA_TYPES`, ``stream`` the quality of the layer that
    is shown, ``fixed`` what the settings prescribe for the format, None for the operating point.
    """
    if name == "png":
        return 100
    if wish.wanted is not None:
        return wish.wanted
    quality = max(LEAST, operating_point(POINTS[name], stream)) if fixed is None else fixed
    return max(1, quality - SAVING) if wish.saving else quality


def operating_point(points: Sequence[tuple[int, int]], stream: int) -> int:
    """Between two of the ``points``, (quality of the stream, quality of the answer), on a straight line.

    Beyond the first and the last the answer has their quality.
    """
    at = bisect_right(points, stream, key=lambda point: point[0])
    if at == 0 or at == len(points):
        return points[max(0, at - 1)][1]
    (low, first), (high, last) = points[at - 1], points[at]
    return round(first + (last - first) * (stream - low) / (high - low))


def as_module(points: Mapping[str, Sequence[tuple[int, int]]], how: str) -> str:
    """The module :mod:`service.planning.points` with these points; ``how`` tells what made them."""
    rows = "".join(f'    "{name}": {tuple(knots)},\n' for name, knots in points.items())
    return (
        f'"""Operating points: quality of a stream, and of answers that are worth it. Made by a command.\n\n'
        f'{how}\n"""\n\nPOINTS: dict[str, tuple[tuple[int, int], ...]] = {{\n{rows}}}\n'
        '"""By format, (quality of the stream, quality of the answer), both rising."""\n'
    )
