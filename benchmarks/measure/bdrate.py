"""Bjontegaard delta rate: the mean difference in rate of two curves at equal PSNR."""

from collections.abc import Sequence

import numpy as np
from scipy.interpolate import PchipInterpolator

Point = tuple[float, float]
"""Bits per pixel and PSNR in decibels."""


class NoOverlap(ValueError):
    """Two curves have no interval of PSNR in common, so their rates cannot be compared."""


def bd_rate(anchor: Sequence[Point], test: Sequence[Point]) -> float:
    """Percent more bits that ``test`` needs than ``anchor`` at equal PSNR; negative is better.

    The logarithm of the rate is interpolated over PSNR by monotone cubics (pchip) and averaged
    over the PSNR range both curves cover. Points may come in any order.

    Raises NoOverlap, also for a curve of a single point.
    """
    low, high = overlap(anchor, test)
    areas = [_log_rate(points).integrate(low, high) for points in (anchor, test)]
    return float(np.expm1((areas[1] - areas[0]) / (high - low)) * 100)


def rate_at(points: Sequence[Point], psnr: float) -> float | None:
    """Bits per pixel of a curve at a PSNR, interpolated in the same way; None outside the curve."""
    if not min(p for _, p in points) <= psnr <= max(p for _, p in points):
        return None
    return float(np.exp(_log_rate(points)(psnr)))


def overlap(anchor: Sequence[Point], test: Sequence[Point]) -> tuple[float, float]:
    """The PSNR range in decibels that both curves cover; raises NoOverlap."""
    if not anchor or not test:
        raise NoOverlap("a curve has no points")
    low = max(min(psnr for _, psnr in points) for points in (anchor, test))
    high = min(max(psnr for _, psnr in points) for points in (anchor, test))
    if low >= high:
        raise NoOverlap(f"the curves share no PSNR: one begins at {low:.2f} dB, one ends at {high:.2f} dB")
    return low, high


def _log_rate(points: Sequence[Point]) -> PchipInterpolator:
    cheapest: dict[float, float] = {}
    for bpp, psnr in points:
        cheapest[psnr] = min(bpp, cheapest.get(psnr, bpp))
    psnrs = sorted(cheapest)
    return PchipInterpolator(psnrs, np.log([cheapest[psnr] for psnr in psnrs]))
