"""The network against the paper: its size, its formula for LIFF, and its odd sizes."""

from dataclasses import replace

import pytest
import torch
from compressai.layers import GDN as TrainedGDN

from model.errors import WeightsError
from model.geometry import Size, halved
from model.network.compass import Compass, crop, quality_to_level
from model.network.config import PROFILES, Config
from model.network.rate import lagrange_multiplier
from model.network.transforms import GDN, analyse_whole, pad_even, synthesise_whole
from model.training.network import (
    TrainedHyperprior,
    initialise,
    round_through,
    to_8_bit,
)
from tests.model.tiny import TINY, TINY_PATCHES, lively_network

SIZES = [Size(1, 1), Size(1, 37), Size(16, 16), Size(17, 31), Size(61, 97)]


def parameters(module, *, but=()):
    return sum(p.numel() for name, p in module.named_parameters() if not any(part in name for part in but))


def test_parameters_of_the_published_network():
    """7,028,003 in each hyperprior and 1,448,320 in LIFF; the gain vectors are ours."""
    network = Compass(PROFILES["paper"], TrainedHyperprior)
    gains = 2 * 2 * 6 * 192
    assert parameters(network) == 15_508_934 == 2 * 7_028_003 + 1_448_320 + gains
    assert parameters(network.base, but=["gain"]) == 7_028_003
    assert parameters(network.enhancement, but=["gain"]) == 7_028_003
    assert parameters(network.liff) == 1_448_320


def test_configurations_as_json():
    for config in PROFILES.values():
        assert Config.from_dict(config.to_dict()) == config


@pytest.mark.parametrize(
    "values",
    [
        {"channnels": 3},
        {"channels": "3"},
        {"channels": 0},
        {"levels": None},
        {"form": "wavelets"},
        {"details": 96},
        {"enhancement_synthesis_channels": -1},
    ],
)
def test_configurations_of_other_programs(values):
    with pytest.raises(WeightsError):
        Config.from_dict(values)


def test_the_width_of_an_enhancement_layers_synthesis_alone():
    wider = replace(TINY_PATCHES, enhancement_synthesis_channels=10)
    for config, widths in ((TINY_PATCHES, [6, 6]), (wider, [6, 10])):
        network = Compass(config)
        parts = (network.base, network.enhancement)
        assert [part.transforms.s_up.out_channels // 4 for part in parts] == widths


@pytest.mark.parametrize("inverse", [False, True])
def test_normalisation_is_compressais(inverse):
    """From the same parameters, small and negative ones among them."""
    trained, ours = TrainedGDN(6, inverse), GDN(6, inverse)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        trained.gamma += 0.2 * torch.randn(6, 6, generator=generator)
        trained.beta[:2] = torch.tensor([-0.3, 1e-5])
    ours.load_state_dict(dict(trained.named_parameters()))
    x = 3 * torch.randn(2, 6, 5, 7, generator=generator)
    with torch.no_grad():
        assert torch.allclose(ours(x), trained(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("config", [TINY, TINY_PATCHES], ids=["convolutions", "patches"])
@pytest.mark.parametrize("size", SIZES)
def test_odd_sizes(size, config):
    hyperprior = TrainedHyperprior(config)
    x = torch.rand(2, 3, *size)
    y = analyse_whole(hyperprior.transforms, x)
    assert y.shape == (2, TINY.latents, *halved(size, 4))
    assert synthesise_whole(hyperprior.transforms, y, size).shape == x.shape
    z = hyperprior.hyper_analyse(y)
    assert z.shape == (2, TINY.channels, *halved(size, 6))
    log_scale, mean = hyperprior.hyper_synthesise(z, halved(size, 4))
    assert log_scale.shape == mean.shape == y.shape
    picture, bits = hyperprior(x, torch.tensor([0.0, 1.5]))
    assert picture.shape == x.shape
    assert bits.shape == (2,)
    assert (bits > 0).all()


def test_padding_repeats_the_last_row_and_column():
    x = torch.arange(6.0).view(1, 1, 2, 3)
    assert pad_even(x)[0, 0].tolist() == [[0, 1, 2, 2], [3, 4, 5, 5]]
    assert torch.equal(crop(pad_even(x), Size(2, 3)), x)
    assert torch.equal(pad_even(x[..., :2]), x[..., :2])


def test_quality_is_linear_in_the_gain_level():
    config = PROFILES["paper"]
    assert quality_to_level(config, 1) == 0
    assert quality_to_level(config, 100) == 5
    assert quality_to_level(config, 34) == pytest.approx(5 / 3)
    for quality in (0, 101, -1):
        with pytest.raises(ValueError):
            quality_to_level(config, quality)


def test_lambda_is_geometric():
    config = PROFILES["paper"]
    values = lagrange_multiplier(config, torch.arange(6.0))
    assert values[0] == pytest.approx(0.0018)
    assert values[-1] == pytest.approx(0.05, rel=1e-5)
    assert torch.allclose(values[1:] / values[:-1], (values[1] / values[0]).expand(5))


def test_gains_are_interpolated_geometrically():
    hyperprior = lively_network().base
    for low in range(TINY.levels - 1):
        levels = torch.tensor([low, low + 0.25, low + 1.0])
        gain, inverse = hyperprior.gains(levels)
        assert gain.shape == inverse.shape == (3, TINY.latents, 1, 1)
        for g, table in ((gain, hyperprior.log_gain), (inverse, hyperprior.log_inverse_gain)):
            assert torch.allclose(g[0, :, 0, 0], table[low].exp())
            assert torch.allclose(g[1], g[0] ** 0.75 * g[2] ** 0.25, rtol=1e-5)
            assert torch.allclose(g[2, :, 0, 0], table[low + 1].exp())


def test_new_gains_follow_lambda():
    hyperprior = initialise(PROFILES["paper"]).base
    with torch.no_grad():
        gain, inverse = hyperprior.gains(torch.tensor([0.0, 5.0]))
    assert torch.allclose(gain * inverse, torch.ones(1))
    assert float((gain[1] / gain[0]).mean()) == pytest.approx((0.05 / 0.0018) ** 0.5, rel=1e-4)


def test_rounding_lets_the_gradient_through():
    x = torch.tensor([0.2, 0.7, -1.6], requires_grad=True)
    round_through(x).sum().backward()
    assert round_through(x).tolist() == [0, 1, -2]
    assert x.grad.tolist() == [1, 1, 1]
    eight = to_8_bit(torch.tensor([-1.0, 0.5, 2.0]))
    assert torch.allclose(eight, torch.tensor([0, 128 / 255, 1]))


def test_initial_weights_are_reproducible():
    first, second = initialise(TINY, 3).state_dict(), initialise(TINY, 3).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = initialise(TINY, 4).state_dict()
    assert not torch.equal(first["liff.first.weight"], other["liff.first.weight"])
