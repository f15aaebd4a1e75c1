"""Probabilities to integer frequency tables, at the export of weights.

This is floating-point arithmetic, which may differ from machine to machine: its results are written into
the weight file and never computed again.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model.stream.entropy import TOTAL, Tables


def quantise_pmf(pmf: ArrayLike) -> NDArray[np.uint16]:
    """The frequencies that code symbols of these probabilities in the fewest bits, escape last.

    ``pmf`` holds the probabilities of consecutive symbols, adding up to at most 1; the escape
    gets what is missing. Every frequency is at least 1, and they add up to ``TOTAL``.

    Raises ValueError for anything else than such a vector.
    """
    p = np.asarray(pmf, np.float64)
    if p.ndim != 1 or not 1 <= len(p) < TOTAL or not (p >= 0).all() or p.sum() > 1 + 1e-6:
        raise ValueError("not probabilities of 1 to 2**PRECISION - 1 symbols")
    p = np.append(p, max(0.0, 1 - p.sum()))

    def frequencies_at(price: float) -> NDArray[np.int64]:
        """Raise each frequency from 1 while a step f -> f + 1 gains p * log((f + 1) / f) > price."""
        with np.errstate(divide="ignore", over="ignore"):
            return np.maximum(1, np.ceil(1 / np.expm1(price / p))).astype(np.int64)

    cheap, dear = 0.0, 1.0  # at the price of 1 every frequency is 1
    for _ in range(64):
        price = (cheap + dear) / 2
        if frequencies_at(price).sum() > TOTAL:
            cheap = price
        else:
            dear = price
    frequencies = frequencies_at(dear)
    ties = np.argsort(-p * np.log1p(1 / frequencies), kind="stable")[: TOTAL - frequencies.sum()]
    frequencies[ties] += 1
    answer: NDArray[np.uint16] = frequencies.astype(np.uint16)
    return answer


_BELIEF = 300.0
"""Symbols that a Gaussian table is worth, beside those that were counted."""


def gaussian_tables(scales: ArrayLike, skip: int = 0, tail: float = 2.0**-13) -> Tables:
    """Tables for normally distributed latents of mean 0, rounded to integers, one for each scale.

    ``scales`` are standard deviations above 0; the first ``skip`` of them are not coded at all.
    Symbols of a joint probability below ``tail`` at the two ends are left to the escape.
    Raises ValueError for other scales.
    """
    deviations = np.asarray(scales, np.float64)
    if deviations.ndim != 1 or not (deviations > 0).all():
        raise ValueError("scales are a vector of positive numbers")
    frequencies, offsets = [], []
    for scale in deviations:
        positive = np.arange(1, max(2, int(np.ceil(8 * scale))) + 1)
        # The probability of each symbol, its negative, and all beyond them.
        beyond = np.array([math.erfc((k - 0.5) / (scale * math.sqrt(2))) for k in positive])
        reach = max(1, int(np.count_nonzero(beyond >= tail)))
        side = -np.diff(np.append(beyond, 0.0))[:reach] / 2
        frequencies.append(quantise_pmf(np.concatenate([side[::-1], [1 - beyond[0]], side])))
        offsets.append(-reach)
    return Tables.from_frequencies(frequencies, offsets, skip)


def fitted_tables(gaussian: Tables, counts: NDArray[np.int64], tail: float = 2.0**-13) -> Tables:
    """Tables for the symbols that were counted; where these are few, nearly the ``gaussian`` ones.

    ``counts`` (tables, 2 n + 1): how often each symbol from -n to n was coded with each table. The two signs
    count alike. Symbols of a joint probability below ``tail`` at the two ends are left to the escape.
    Raises ValueError for other counts.
    """
    if counts.shape != (len(gaussian), counts.shape[-1]) or counts.shape[-1] % 2 == 0 or counts.min() < 0:
        raise ValueError(f"{counts.shape} counts of symbols for {len(gaussian)} tables")
    ends = np.cumsum(gaussian.lengths, dtype=np.int64)
    starts = ends - gaussian.lengths
    furthest = max(counts.shape[1] // 2, int(-gaussian.offsets.min()))
    frequencies, offsets = [], []
    for start, end, offset, counted in zip(starts, ends - 1, gaussian.offsets, counts, strict=True):
        expected = np.zeros(2 * furthest + 1)  # of every symbol from -furthest to furthest
        expected[furthest + offset :][: end - start] = gaussian.frequencies[start:end] * (_BELIEF / TOTAL)
        margin = furthest - len(counted) // 2
        expected += np.pad(counted, margin)
        probability = (expected + expected[::-1]) / (2 * max(expected.sum(), 1.0))
        beyond = 2 * np.cumsum(probability[:furthest])[::-1]  # of each k and all beyond, both signs, k from 1
        reach = max(1, int(np.count_nonzero(beyond >= tail)))
        kept = probability[furthest - reach : furthest + reach + 1]
        frequencies.append(quantise_pmf(kept))
        offsets.append(-reach)
    return Tables.from_frequencies(frequencies, offsets, gaussian.skip)
