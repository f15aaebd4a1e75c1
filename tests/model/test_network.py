"""The network against the paper: its size, its formula for LIFF, and its odd sizes."""

import pytest
import torch
import torch.nn.functional as F
from compressai.layers import GDN as TrainedGDN

from model.config import PROFILES, Config
from model.errors import WeightsError
from model.geometry import halved, whole
from model.network import GDN, LIFF, Compass, bicubic, crop, nearest, pad_even, quality_to_level
from model.training.network import (
    TrainedHyperprior,
    initialise,
    lagrange_multiplier,
    round_through,
    to_8_bit,
)
from tests.model.tiny import TINY, lively_network

SIZES = [(1, 1), (1, 37), (16, 16), (17, 31), (61, 97)]


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


@pytest.mark.parametrize("values", [{"channnels": 3}, {"channels": "3"}, {"levels": None}])
def test_configurations_of_other_programs(values):
    with pytest.raises(WeightsError):
        Config.from_dict(values)


def literal_liff(liff: LIFF, x, size):
    """LIFF as the paper writes it: every output pixel has its own 3 x 3 features and its own filter."""
    C = liff.C
    small = x.shape[-2:]
    unfolded = F.unfold(liff.features(x), 3, padding=1).view(C * 9, *small)
    out = torch.empty(3, *size)
    for i in range(size[0]):
        for j in range(size[1]):
            y, x_near = (int((at + 0.5) * s / b) for at, s, b in zip((i, j), small, size, strict=True))
            r = [
                ((at + 0.5) / b - (near + 0.5) / s) * 2 * s
                for at, b, near, s in zip((i, j), size, (y, x_near), small, strict=True)
            ]
            token = [2 * s / b for s, b in zip(small, size, strict=True)]
            feature = unfolded[:, y, x_near]
            h = torch.relu(liff.first(torch.cat([feature, torch.tensor(r + token, dtype=feature.dtype)])))
            for layer in liff.hidden:
                h = torch.relu(layer(h))
            out[:, i, j] = feature @ liff.last(h).view(C * 9, 3)
    return out[None]


@pytest.mark.parametrize(
    ("small", "large"), [((5, 4), (11, 7)), ((3, 7), (3, 20)), ((1, 1), (5, 6)), ((6, 6), (7, 7))]
)
def test_liff_is_the_papers_formula(small, large):
    liff = lively_network().liff.eval()
    liff.skip = False
    x = torch.rand(1, 3, *small, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = literal_liff(liff, x, large)
        assert expected.std() > 0.001
        assert (liff(x, large) - expected).abs().max() < 2e-5
        liff.skip = True
        assert (liff(x, large) - expected - bicubic(x, large)).abs().max() < 2e-5


def test_strips_change_nothing():
    liff = lively_network().liff
    x, large = torch.rand(2, 3, 7, 9), (20, 13)
    with torch.no_grad():
        once = liff.colours(x, whole((7, 9)), whole(large), (7, 9), large)
        strips = liff.colours(x, whole((7, 9)), whole(large), (7, 9), large, strip=3)
    assert (once - strips).abs().max() < 1e-6


def test_a_new_liff_is_the_bicubic_enlargement():
    liff = initialise(TINY).liff
    x = torch.rand(1, 3, 6, 5)
    assert torch.equal(liff(x, (13, 9)), bicubic(x, (13, 9)))


def test_nearest_and_its_offset():
    index, offset = nearest((0, 4), 2, 4)
    assert index.tolist() == [0, 0, 1, 1]
    assert offset.tolist() == [-0.5, 0.5, -0.5, 0.5]
    index, offset = nearest((1, 3), 3, 3)
    assert index.tolist() == [1, 2]
    assert offset.tolist() == [0, 0]
    for small, large in [(3, 7), (640, 1919), (65535, 65535), (1, 65535)]:
        index, offset = nearest((0, large), small, large)
        assert 0 <= index.min() <= index.max() < small
        assert offset.abs().max() <= 1
        assert torch.equal(offset, -offset.flip(0)) or small % 2 == 0 or large % 2 == 0


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


@pytest.mark.parametrize("size", SIZES)
def test_odd_sizes(size):
    hyperprior = TrainedHyperprior(TINY)
    x = torch.rand(2, 3, *size)
    y = hyperprior.analyse(x)
    assert y.shape == (2, TINY.latents, *halved(size, 4))
    assert hyperprior.synthesise(y, size).shape == x.shape
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
    assert torch.equal(crop(pad_even(x), (2, 3)), x)
    assert pad_even(x[..., :2]) is not None
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
    hyperprior = initialise(PROFILES["lite"]).base
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
