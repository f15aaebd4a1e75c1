"""The integer hyper-synthesis is near the network that it was made from."""

import numpy as np
import pytest
import torch

from model.geometry import Size, halved, whole
from model.network.compass import SCALE_COUNT, SCALE_HIGH, SCALE_LOW, Hyperprior
from model.network.priors import FRACTION
from model.training.integers import integer_hyper_synthesis
from tests.model.tiny import TINY, lively_network


@pytest.mark.parametrize("size", [Size(1, 1), Size(97, 61), Size(130, 257)])
def test_near_the_network_it_was_made_from(size):
    hyperprior = lively_network().enhancement
    exact = integer_hyper_synthesis(hyperprior)
    generator = torch.Generator().manual_seed(0)
    z = torch.randint(-6, 7, (TINY.channels, *halved(size, 6)), generator=generator, dtype=torch.int32)
    index, mean = exact(z, whole(halved(size, 6)), whole(halved(size, 4)), size)
    with torch.no_grad():
        log_scale, float_mean = hyperprior.hyper_synthesise(
            z[None].float() + hyperprior.medians(), halved(size, 4)
        )
    steps = np.log(SCALE_HIGH / SCALE_LOW) / (SCALE_COUNT - 1)
    float_index = ((log_scale[0] - np.log(SCALE_LOW)) / steps).clamp(0, SCALE_COUNT - 1)
    assert (index - float_index).abs().max() < 0.5 + 0.2
    assert (mean * 2.0**-FRACTION - float_mean[0]).abs().max() < 0.02


def test_huge_weights_lose_fractional_bits_but_stay_16_bit():
    hyperprior = Hyperprior(TINY)
    with torch.no_grad():
        hyperprior.hyper_synthesis[2].weight *= 1e4
    exact = integer_hyper_synthesis(hyperprior)
    assert exact.mean.shift < 14
    assert exact.mean.weight.abs().max() < 2**15
