"""Bits of latents."""

import math

import pytest
import torch
from compressai.entropy_models import GaussianConditional

from model.network.rate import FEW_BITS, gaussian_bits


@pytest.mark.parametrize("scale", [0.11, 0.5, 3.0, 64.0])
def test_bits_are_those_of_the_likelihood(scale):
    x = torch.linspace(-20, 20, 201)
    likelihood = GaussianConditional(None)._likelihood(x.double(), torch.full_like(x, scale).double())
    few = likelihood > 2**-FEW_BITS
    assert few.any()
    bits = gaussian_bits(x, torch.full_like(x, scale))
    torch.testing.assert_close(bits[few], -torch.log2(likelihood)[few].float(), rtol=1e-3, atol=1e-3)


def test_bits_far_from_the_mean_rise_slowly_and_still_ask_for_a_larger_scale():
    x = torch.tensor([2.0, 10.0, 100.0, 1000.0]).requires_grad_()
    log_scale = torch.full((4,), math.log(0.11)).requires_grad_()
    bits = gaussian_bits(x, log_scale.exp())
    bits.sum().backward()
    assert (bits[:-1] > FEW_BITS).all()
    assert (bits.diff() > 0).all()
    assert bits[-1] < 20 * FEW_BITS
    assert (log_scale.grad < -1).all()
    assert (log_scale.grad >= -2.01 * FEW_BITS).all()
    assert (x.grad > 0).all()


def test_both_ways_of_computing_meet():
    """Four deviations from the mean, for every scale."""
    for scale in (0.11, 1.0, 64.0):
        x = 0.5 + scale * torch.tensor([3.999, 4.001], dtype=torch.float32)
        before, after = gaussian_bits(x, torch.full_like(x, scale))
        assert 0 < after - before < 0.02
