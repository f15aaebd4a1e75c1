"""The hyper-synthesis in 16 and 32 bits: the same numbers, or none."""

import dataclasses

import numpy as np
import pytest
import torch

from model.geometry import Box, Size, halved, prior_boxes, whole
from model.network.integer_convolution import vector_bits
from model.network.narrow import NarrowLayer
from model.network.priors import IntegerHyperSynthesis
from tests.model.network.test_priors import EXACT, hyper_latents, priors

pytestmark = pytest.mark.skipif(not vector_bits(), reason="this processor has no such instruction")


def in_float64() -> IntegerHyperSynthesis:
    """The same layers, never narrow."""
    synthesis = dataclasses.replace(EXACT)
    synthesis.__dict__["_narrow"] = None
    return synthesis


def test_trained_weights_are_exported_narrow():
    assert EXACT._narrow is not None


@pytest.mark.parametrize("size", [Size(1, 1), Size(17, 300), Size(530, 97), Size(1100, 700)])
@pytest.mark.parametrize("spread", [0, 6, 60])
def test_the_same_as_float64(size, spread):
    z = hyper_latents(size, spread)
    for narrow, wide in zip(priors(EXACT, z, size), priors(in_float64(), z, size), strict=True):
        assert torch.equal(narrow, wide)


def test_a_box_of_latents():
    size, box = Size(700, 900), Box(5, 9, 31, 38)
    z = hyper_latents(size)
    assert torch.equal(priors(EXACT, z, size, box)[1], priors(in_float64(), z, size, box)[1])


def test_beyond_the_limit_it_gives_nothing_and_float64_does():
    size = Size(200, 200)
    z, latents = hyper_latents(size), whole(halved(size, 4))
    z[0, 1, 1] = 2**15 - 1
    values = (z.double() * 256).numpy()
    assert EXACT._narrow is not None
    assert EXACT._narrow.priors(values, prior_boxes(latents, size)) is None
    assert torch.equal(priors(EXACT, z, size)[1], priors(in_float64(), z, size)[1])


def test_an_activation_above_a_later_limit_gives_nothing():
    size = Size(200, 200)
    narrow = EXACT._narrow
    assert narrow is not None
    values = (hyper_latents(size).double() * 256).numpy()
    boxes = prior_boxes(whole(halved(size, 4)), size)
    assert narrow.priors(values, boxes) is not None
    for part in ("up2", "last"):
        strict = dataclasses.replace(getattr(narrow, part), limit=1)
        assert dataclasses.replace(narrow, **{part: strict}).priors(values, boxes) is None


def test_no_sum_within_the_limit_can_leave_32_bits():
    rng = np.random.default_rng(0)
    weight = rng.integers(-300, 300, (7, 4, 3, 3)).astype(np.float64)
    bias = rng.integers(-(2**20), 2**20, 7).astype(np.float64)
    layer = NarrowLayer.of(weight, bias, 9)
    worst = np.abs(weight).sum((1, 2, 3)) * layer.limit + np.abs(bias) + 2**8
    assert worst.max() < 2**31
    assert layer.limit == 2**15 - 1 or (worst + np.abs(weight).sum((1, 2, 3))).max() >= 2**31


def test_weights_whose_sums_need_more_bits_have_a_small_limit():
    assert NarrowLayer.of(np.full((1, 2, 3, 3), 2.0**15 - 1), np.zeros(1), 9).limit < 2**13
    assert NarrowLayer.of(np.ones((1, 2, 3, 3)), np.full(1, 2.0**40), 9).limit < 0
