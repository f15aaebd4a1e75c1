"""The integer hyper-synthesis: near the network it was made from, and exact in every way of asking."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.errors import WeightsError
from model.geometry import Box, Size, divide, halved, whole
from model.network.priors import (
    ACTIVATION_LIMIT,
    IntegerHyperSynthesis,
    IntegerLayer,
    leaky,
)
from model.training.integers import integer_hyper_synthesis
from tests.model.tiny import TINY, lively_network

HYPERPRIOR = lively_network().enhancement
EXACT = integer_hyper_synthesis(HYPERPRIOR)
SIZES = [Size(1, 1), Size(1, 200), Size(17, 16), Size(97, 61), Size(130, 257), Size(256, 64)]


def hyper_latents(size, spread=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (TINY.channels, *halved(size, 6))
    return torch.randint(-spread, spread + 1, shape, generator=generator, dtype=torch.int32)


def priors(exact, z, size, box=None):
    latents = whole(halved(size, 4))
    return exact(z, whole(halved(size, 6)), box or latents, size)


def python_convolution(layer: IntegerLayer, x: np.ndarray) -> np.ndarray:
    """A layer's sums in Python's integers, tap by tap, from the definition."""
    weight, bias = layer.weight.long().numpy(), layer.bias.long().numpy()
    channels, height, width = x.shape
    if layer.transposed:
        out = np.zeros((weight.shape[1], 2 * height, 2 * width), object) + bias[:, None, None].astype(object)
        for y in range(height):
            for column in range(width):
                for ky in range(5):
                    for kx in range(5):
                        row, place = 2 * y + ky - 2, 2 * column + kx - 2
                        if 0 <= row < 2 * height and 0 <= place < 2 * width:
                            for i in range(channels):
                                for o in range(len(bias)):
                                    out[o, row, place] += int(weight[i, o, ky, kx]) * int(x[i, y, column])
        return out
    out = np.zeros((len(weight), height, width), object) + bias[:, None, None].astype(object)
    for y in range(height):
        for column in range(width):
            for ky in range(3):
                for kx in range(3):
                    row, place = y + ky - 1, column + kx - 1
                    if 0 <= row < height and 0 <= place < width:
                        for o in range(len(bias)):
                            for i in range(channels):
                                out[o, y, column] += int(weight[o, i, ky, kx]) * int(x[i, row, place])
    return out


def python_rounded(layer: IntegerLayer, x: np.ndarray, shift: int) -> np.ndarray:
    """Sums divided by 2^shift, halves up, clamped; in Python's integers."""
    sums = python_convolution(layer, x)
    limit = ACTIVATION_LIMIT - 1
    return np.vectorize(lambda s: max(-limit, min(limit, (int(s) + 2 ** (shift - 1)) >> shift)), [object])(
        sums
    )


def python_leaky(x: np.ndarray) -> np.ndarray:
    return np.vectorize(lambda v: v if v >= 0 else v >> 7, [object])(x)


@pytest.mark.parametrize("spread", [5, 2**15])
def test_the_same_as_pythons_integers(spread):
    """Written from docs/bitstream.md, also for hyper-latents that no picture has."""
    size = Size(40, 70)
    z = hyper_latents(size, spread)
    medians = EXACT.medians.long().numpy().astype(object)
    x = z.numpy().astype(object) * 256 + medians
    x = np.vectorize(lambda v: max(1 - 2**24, min(2**24 - 1, v)), [object])(x)
    for layer, times in ((EXACT.up1, 5), (EXACT.up2, 4)):
        height, width = halved(size, times)
        x = python_leaky(python_rounded(layer, x, layer.shift))[:, :height, :width]
    expected_index = np.clip(python_rounded(EXACT.index, x, EXACT.index.shift + 8).astype(int), 0, 63)
    expected_mean = python_rounded(EXACT.mean, x, EXACT.mean.shift).astype(int)
    index, mean = priors(EXACT, z, size)
    assert np.array_equal(index.numpy(), expected_index)
    assert np.array_equal(mean.numpy(), expected_mean)


def test_the_priors_vary():
    """Else the tests here would show little."""
    index, mean = priors(EXACT, hyper_latents(Size(256, 256)), Size(256, 256))
    assert len(index.unique()) > 30
    assert len(mean.unique()) > 300


@given(st.data(), st.sampled_from(SIZES))
@settings(deadline=None, max_examples=40)
def test_a_box_has_exactly_the_priors_of_the_whole(data, size):
    z = hyper_latents(size)
    index, mean = priors(EXACT, z, size)
    latents = halved(size, 4)
    top, left = data.draw(st.integers(0, latents[0] - 1)), data.draw(st.integers(0, latents[1] - 1))
    bottom, right = data.draw(st.integers(top + 1, latents[0])), data.draw(st.integers(left + 1, latents[1]))
    box = Box(top, left, bottom, right)
    window = EXACT.inputs(box, size)
    part = EXACT(z[:, *window.inside(whole(halved(size, 6)))], window, box, size)
    cut = box.inside(whole(latents))
    assert torch.equal(part[0], index[:, *cut])
    assert torch.equal(part[1], mean[:, *cut])


def test_large_areas_are_evaluated_in_blocks():
    size = Size(16 * 130, 16 * 70)
    z = hyper_latents(size)
    index, mean = priors(EXACT, z, size)
    for box in divide(whole(halved(size, 4)), 50):
        part = priors(EXACT, z, size, box)
        cut = box.inside(whole(halved(size, 4)))
        assert torch.equal(part[0], index[:, *cut])
        assert torch.equal(part[1], mean[:, *cut])


def test_threads_and_onednn_change_nothing():
    size = Size(700, 900)
    z = hyper_latents(size, 2**15)
    expected = priors(EXACT, z, size)
    try:
        for threads in (1, 2):
            for enabled in (True, False):
                torch.set_num_threads(threads)
                with torch.backends.mkldnn.flags(enabled=enabled):
                    assert all(map(torch.equal, priors(EXACT, z, size), expected))
    finally:
        torch.set_num_threads(1)


def test_the_largest_inputs_stay_exact():
    """Every weight and activation at its limit: float64 agrees with Python's integers."""
    weight = torch.full((3, 2, 5, 5), 2.0**15 - 1, dtype=torch.float64)
    layer = IntegerLayer(weight, torch.full((2,), 2.0**20 + 1, dtype=torch.float64), 14)
    assert layer.headroom() > 0
    x = torch.full((3, 3, 3), ACTIVATION_LIMIT - 1.0, dtype=torch.float64)
    assert np.array_equal(
        layer.sums(x).long().numpy(), python_convolution(layer, x.long().numpy()).astype(int)
    )


def test_headroom_is_demanded():
    weight = torch.full((1, 2048, 3, 3), 2.0**15, dtype=torch.float64)
    with pytest.raises(WeightsError):
        IntegerLayer(weight, torch.zeros(1, dtype=torch.float64), 14)
    with pytest.raises(WeightsError):
        IntegerLayer(torch.ones(1, 1, 3, 3).double(), torch.tensor([2.0**53]).double(), 14)


def test_headroom_counts_every_tap_of_an_output():
    weight = torch.arange(18.0, dtype=torch.float64).view(2, 1, 3, 3)
    layer = IntegerLayer(weight, torch.tensor([0.0, 5.0]).double(), 0)
    largest = sum(range(9, 18)) * ACTIVATION_LIMIT + 5
    assert layer.headroom() == pytest.approx(53 - np.log2(largest))


def test_leaky():
    x = torch.tensor([-256.0, -129, -128, -1, 0, 1, 300], dtype=torch.float64)
    assert leaky(x).tolist() == [-2, -2, -1, -1, 0, 1, 300]


def test_halves_are_rounded_up_and_sums_are_clamped():
    weight = torch.zeros(1, 1, 3, 3, dtype=torch.float64)
    weight[0, 0, 1, 1] = 1
    layer = IntegerLayer(weight, torch.zeros(1, dtype=torch.float64), 0)
    x = torch.tensor([[[-3.0, -1, 1, 3]]], dtype=torch.float64)
    assert layer.rounded(x, 1).flatten().tolist() == [-1, 0, 1, 2]
    large = IntegerLayer(weight * 2, torch.zeros(1, dtype=torch.float64), 0)
    x = torch.tensor([[[2.0**24 - 1, 1 - 2.0**24]]], dtype=torch.float64)
    assert large.rounded(x, 0).flatten().tolist() == [2**24 - 1, 1 - 2**24]


def test_arrays_there_and_back():
    arrays = EXACT.to_arrays()
    assert {array.dtype for array in arrays.values()} == {torch.int16, torch.int32, torch.int64}
    again = IntegerHyperSynthesis.from_arrays(arrays)
    z = hyper_latents(Size(97, 61))
    assert all(map(torch.equal, priors(again, z, Size(97, 61)), priors(EXACT, z, Size(97, 61))))


@pytest.mark.parametrize("name", ["medians", "up1.weight", "index.bias", "mean.shift"])
def test_missing_arrays(name):
    arrays = EXACT.to_arrays()
    del arrays[name]
    with pytest.raises(WeightsError):
        IntegerHyperSynthesis.from_arrays(arrays)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("up1.weight", lambda weight: weight.float() + 0.5),
        ("up2.weight", lambda weight: weight.double()),
        ("index.weight", lambda weight: weight.flatten()),
        ("mean.bias", lambda bias: bias.double() * torch.nan),
        ("mean.bias", lambda bias: bias + 2**53),
        ("up1.shift", lambda shift: shift + 2000),
        ("up1.shift", lambda shift: shift - 30),
        ("up1.shift", lambda shift: shift.double()),
        ("medians", lambda medians: medians + 0.25),
    ],
)
def test_what_is_not_exact_is_refused(name, wrong):
    arrays = EXACT.to_arrays()
    arrays[name] = wrong(arrays[name])
    with pytest.raises(WeightsError):
        IntegerHyperSynthesis.from_arrays(arrays)


@pytest.mark.parametrize("number", [0.5, float("nan"), float("inf")])
def test_layers_are_of_integers(number):
    weight = torch.zeros(1, 1, 3, 3, dtype=torch.float64)
    IntegerLayer(weight, torch.zeros(1, dtype=torch.float64), 0)
    weight[0, 0, 1, 1] = number
    with pytest.raises(WeightsError):
        IntegerLayer(weight, torch.zeros(1, dtype=torch.float64), 0)
