"""Probabilities to integer tables: as good as integers can be, and sound."""

from math import log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.stream.entropy import TOTAL
from model.training.tables import fitted_tables, gaussian_tables, quantise_pmf

SCALES = np.exp(np.linspace(np.log(0.11), np.log(256), 64))


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=40), st.integers(0, 10**6))
def test_quantised_probabilities_cannot_be_improved_by_moving_one_unit(weights: list[int], rest: int) -> None:
    p = np.array([*weights, rest], float) / max(1, sum(weights) + rest)
    frequencies = quantise_pmf(p[:-1]).astype(int)
    assert frequencies.sum() == TOTAL
    assert frequencies.min() >= 1
    p[-1] = 1 - p[:-1].sum()
    gain = max(q * log2((f + 1) / f) for q, f in zip(p, frequencies, strict=True))
    loss = min((q * log2(f / (f - 1)) for q, f in zip(p, frequencies, strict=True) if f > 1), default=1)
    assert gain <= loss + 1e-12


def test_gaussian_tables_are_symmetric_and_as_wide_as_their_scale() -> None:
    tables = gaussian_tables(SCALES)
    ends = np.cumsum(tables.lengths, dtype=int)
    for t, scale in enumerate(SCALES):
        frequencies = tables.frequencies[ends[t] - tables.lengths[t] : ends[t] - 1].astype(int)
        reach = len(frequencies) // 2
        assert tables.offsets[t] == -reach
        assert np.abs(frequencies - frequencies[::-1]).max() <= 1
        assert (reach - 0.5) / scale < 3.85 or reach == 1  # a tail of 2**-13 lies beyond 3.84
        assert (reach + 0.5) / scale > 3.83
        if 1 < scale < 20:  # the smallest frequency of 1 widens the widest tables
            variance = (frequencies * np.arange(-reach, reach + 1) ** 2).sum() / frequencies.sum()
            assert variance == pytest.approx(scale**2 + 1 / 12, rel=0.02)


@pytest.mark.parametrize("pmf", [[], [0.6, 0.6], [-0.1, 0.5], [np.nan], [[0.5]]])
def test_what_are_no_probabilities_is_refused(pmf: list) -> None:
    with pytest.raises(ValueError, match="probabilities"):
        quantise_pmf(pmf)


def test_tables_fitted_to_nothing_are_those_that_they_began_as() -> None:
    gaussian = gaussian_tables(SCALES, skip=3)
    fitted = fitted_tables(gaussian, np.zeros((len(SCALES), 21), np.int64))
    assert fitted.skip == 3
    difference = fitted.lengths.astype(int) - gaussian.lengths
    assert np.abs(difference).max() <= 2  # a symbol at each end
    assert np.abs(fitted.offsets.astype(int) - gaussian.offsets).max() <= 1


def test_fitted_tables_are_as_likely_as_the_counts() -> None:
    counts = np.zeros((len(SCALES), 5), np.int64)
    counts[20] = [10_000, 0, 1_000_000, 0, 30_000]
    fitted = fitted_tables(gaussian_tables(SCALES), counts)
    start = int(fitted.lengths[:20].astype(int).sum())
    frequencies = fitted.frequencies[start : start + fitted.lengths[20]].astype(int)
    by_symbol = dict(zip(range(fitted.offsets[20], 10), frequencies[:-1], strict=False))
    assert by_symbol[-2] == by_symbol[2] == pytest.approx(TOTAL * 20_000 / 1_040_000, rel=0.02)
    assert by_symbol[0] == pytest.approx(TOTAL * 1_000_000 / 1_040_000, rel=0.02)
    assert by_symbol[-1] == by_symbol[1] <= 3


@pytest.mark.parametrize("shape", [(2, 5), (64, 4)])
def test_counts_of_another_shape_are_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="counts"):
        fitted_tables(gaussian_tables(SCALES), np.zeros(shape, np.int64))
