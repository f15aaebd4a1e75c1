import math

import numpy as np
import pytest

from benchmarks.measure.bdrate import NoOverlap, bd_rate, overlap, rate_at

ANCHOR = [(0.12, 27.7), (0.2, 29.4), (0.31, 31.1), (0.46, 33.0), (0.66, 35.0)]


def rates_times(factor: float) -> list[tuple[float, float]]:
    return [(bpp * factor, psnr) for bpp, psnr in ANCHOR]


@pytest.mark.parametrize("factor", [0.5, 0.9, 1.0, 1.25, 3.0])
def test_a_curve_of_scaled_rate_differs_by_just_that(factor):
    assert bd_rate(ANCHOR, rates_times(factor)) == pytest.approx((factor - 1) * 100)


def test_the_order_of_points_does_not_matter():
    assert bd_rate(ANCHOR[::-1], rates_times(1.1)) == pytest.approx(10)


def test_only_the_common_psnr_range_counts():
    beyond = [*rates_times(1.1), (400.0, 60.0)]
    cut = rates_times(1.1)[1:4]
    assert overlap(ANCHOR, beyond) == (27.7, 35.0)
    assert overlap(ANCHOR, cut) == (29.4, 33.0)
    assert bd_rate(ANCHOR, beyond) == pytest.approx(10, abs=1)


def test_against_the_integral_of_straight_lines():
    # log-rates linear in PSNR: pchip reproduces them, and the mean difference is the middle one
    psnrs = np.linspace(28, 36, 9)
    anchor = [(math.exp(0.1 * p), p) for p in psnrs]
    test = [(math.exp(0.1 * p + 0.02 * (p - 28)), p) for p in psnrs]
    assert bd_rate(anchor, test) == pytest.approx(math.expm1(0.02 * 4) * 100)


def test_swapping_the_curves_inverts_the_ratio():
    other = [(0.15, 27.0), (0.25, 30.0), (0.5, 34.0)]
    there, back = bd_rate(ANCHOR, other), bd_rate(other, ANCHOR)
    assert (1 + there / 100) * (1 + back / 100) == pytest.approx(1)


def test_of_two_points_with_equal_psnr_the_cheaper_counts():
    assert bd_rate(ANCHOR, [*rates_times(1.0), (9.0, 31.1)]) == pytest.approx(0)


def test_curves_apart_cannot_be_compared():
    with pytest.raises(NoOverlap):
        bd_rate(ANCHOR, [(1.0, 40.0), (2.0, 45.0)])


def test_no_point_is_no_curve():
    with pytest.raises(NoOverlap):
        bd_rate(ANCHOR, [])


def test_the_rate_at_a_psnr():
    points = [(0.4, 32.0), (0.1, 28.0), (0.2, 30.0)]
    assert rate_at(points, 30.0) == pytest.approx(0.2)
    assert rate_at(points, 29.0) == pytest.approx(0.1 * 2**0.5)  # the logarithm is linear here
    assert rate_at(points, 27.9) is None
    assert rate_at(points, 32.1) is None


def test_one_point_is_no_curve():
    with pytest.raises(NoOverlap):
        bd_rate([(0.1, 28.0), (0.2, 28.0)], [(0.1, 27.0), (0.2, 29.0)])
