"""Operations against counting them by hand."""

from benchmarks.speed.operations import operations
from model.geometry import Size
from model.network.config import PROFILES


def test_the_base_layer_of_lite():
    """Of one latent: 4 patches of 8 x 8 pixels, and the linear parts of 768 pixels."""
    config, size = PROFILES["lite"], Size(160, 320)
    latents, M, D = 10 * 20, config.latents, config.synthesis_channels
    deep = config.synthesis_deep_blocks * (9 * M * D + D * M)
    blocks = config.synthesis_blocks * 4 * (9 * D * D + D * D)
    rest = M * M + M * 4 * D + 4 * D * 192 + M * 768
    assert operations(config, [size])["synthesis"] == 2 * latents * (deep + blocks + rest)
    assert operations(config, [size])["prediction"] == 0


def test_a_ladder_needs_the_sum_of_its_layers():
    config = PROFILES["lite"]
    both = operations(config, [Size(80, 80), Size(160, 160)])
    alone = operations(config, [Size(80, 80)])
    assert both["analysis"] > 5 * alone["analysis"] > 0
    assert both["prediction"] > 0
