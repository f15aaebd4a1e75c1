"""Integer convolutions are exact, with every length of vector that this machine has."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numba import int16, int32, njit, void

from model.compiled import read
from model.network import integer_convolution
from model.network.integer_convolution import (
    OUTPUTS,
    POSITIONS,
    activate,
    convolve,
    finish,
    of_transposed,
    packed,
    vector_bits,
)

RNG = np.random.default_rng(0)
ON_THIS_MACHINE = [bits for bits in (512, 256) if bits <= vector_bits()]


def integers(shape, largest, dtype=np.int16):
    return RNG.integers(-largest, largest + 1, shape).astype(dtype)


@pytest.fixture(params=ON_THIS_MACHINE)
def tiles(request, monkeypatch):
    """The loop compiled for one length of vector."""
    monkeypatch.setattr(integer_convolution, "vector_bits", lambda: request.param)
    signature = void(read(int16, 3), read(int16, 3), int32[:, :, ::1])
    monkeypatch.setattr(integer_convolution, "_convolve", njit(signature)(integer_convolution._loop))


@pytest.mark.parametrize(("height", "outputs", "channels"), [(1, 3, 2), (5, 40, 6), (3, 64, 16)])
def test_the_sums_are_those_of_float64(tiles, height, outputs, channels):
    """Activations and weights as large as 16 bits allow, as long as sums stay in 32."""
    width = 2 * POSITIONS
    largest = int((2**31 - 1 - 1000) // (9 * channels * 2**15))
    activations = integers((height + 2, width + 2, channels), 2**15 - 1)
    weight = integers((outputs, channels, 3, 3), largest)
    weight[0] = largest  # the sums that come next to the end of 32 bits
    activations[:3, :3] = 2**15 - 1
    bias = np.zeros(-(-outputs // OUTPUTS) * OUTPUTS, np.int32)
    bias[:outputs] = integers(outputs, 1000)
    sums = convolve(activations, packed(weight), bias)
    x, kernel = (torch.from_numpy(array.astype(np.float64)) for array in (activations, weight))
    expected = F.conv2d(x.permute(2, 0, 1)[None], kernel, torch.from_numpy(bias[:outputs]).double())[0]
    assert expected.abs().max() > 2**30
    assert np.array_equal(sums[..., :outputs], expected.permute(1, 2, 0).numpy())


def test_a_transposed_convolution():
    weight = integers((3, 2, 5, 5), 100, np.float64)
    x = integers((1, 3, 4, 6), 100, np.float64)
    expected = F.conv_transpose2d(
        torch.from_numpy(x), torch.from_numpy(weight), stride=2, padding=2, output_padding=1
    )
    phases = F.conv2d(torch.from_numpy(x), torch.from_numpy(of_transposed(weight)), padding=1)
    cells = phases.view(2, 2, 2, 4, 6).permute(2, 3, 0, 4, 1).reshape(1, 2, 8, 12)
    assert torch.equal(cells, expected)


def test_activations_are_rounded_and_rectified():
    """Of a cell of 2 x 2 outputs of one channel: 5/4, 6/4 (a half goes up), -6/4, -7/4, then halved again."""
    sums = np.zeros((1, 1, OUTPUTS), np.int32)
    sums[0, 0, :4] = [5, 6, -6, -7]
    out = np.zeros((2, 2, 1), np.int16)
    assert activate(sums, 2, 1, 0, 0, 2, out)
    assert out[..., 0].tolist() == [[1, 2], [-1, -1]]
    assert not activate(sums, 2, 1, 0, 0, 1, out)
    part = np.zeros((1, 1, 1), np.int16)
    assert activate(sums, 2, 1, 0, 1, 2, part)
    assert part.tolist() == [[[2]]]


def test_the_last_sums_are_rounded_and_clamped():
    sums = np.zeros((1, 3, OUTPUTS), np.int32)
    sums[0, :, 0], sums[0, :, 1] = [-9, 6, 999], [-6, -5, 6]
    index, mean = np.zeros((1, 1, 2), np.uint8), np.zeros((1, 1, 2), np.int32)
    finish(sums, 2, 2, 0, 0, 63, index, mean)
    assert (index.tolist(), mean.tolist()) == ([[[0, 2]]], [[[-1, -1]]])
    finish(sums, 2, 2, 0, 1, 63, index, mean)
    assert (index.tolist(), mean.tolist()) == ([[[2, 63]]], [[[-1, 2]]])


def test_code_for_another_machine_does_without(monkeypatch):
    monkeypatch.setenv("NUMBA_CPU_NAME", "generic")
    assert vector_bits() == 0
