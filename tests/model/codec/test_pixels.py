"""Rounding to 8 bits in one pass is what torch does in many."""

import numpy as np
import pytest
import torch

from model.codec.pixels import squared_error, to_numbers, to_pixels

X = torch.rand((2, 3, 7, 9), generator=torch.Generator().manual_seed(0)) * 1.4 - 0.2
PREDICTION = torch.rand((2, 3, 7, 9), generator=torch.Generator().manual_seed(1)) * 0.5


def literal(x):
    return torch.round(x.clamp(0, 1) * 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_numbers_are_clamped_and_rounded(memory):
    x = X.contiguous(memory_format=memory)
    assert np.array_equal(to_pixels(x), literal(X))
    assert np.array_equal(to_pixels(x, PREDICTION), literal(X + PREDICTION))
    assert np.array_equal(
        to_pixels(x[..., 2:5, 1:8], PREDICTION[..., 2:5, 1:8]), literal(X + PREDICTION)[:, 2:5, 1:8]
    )


def test_other_kinds_of_numbers():
    assert np.array_equal(to_pixels(X.double(), PREDICTION.double()), literal(X.double() + PREDICTION))


def test_pixels_become_themselves():
    pixels = np.arange(2 * 8 * 16 * 3, dtype=np.uint8).reshape(2, 8, 16, 3)
    numbers = to_numbers(pixels[:, ::2], torch.device("cpu"))
    assert numbers.shape == (2, 3, 4, 16)
    assert np.array_equal(to_pixels(numbers), pixels[:, ::2])


def test_errors_of_whole_pictures_are_summed_strip_by_strip(monkeypatch):
    random = np.random.default_rng(0)
    one, other = (random.integers(0, 256, (23, 17, 3)).astype(np.uint8) for _ in range(2))
    expected = float(np.square(one.astype(float) - other).sum())
    assert squared_error(one, other) == expected
    monkeypatch.setattr("model.codec.pixels._STRIP", 40)
    assert squared_error(one, other) == expected
    assert squared_error(one, one) == 0
