"""Operations against counting them by hand."""

import pytest

from benchmarks.speed.operations import Operations, operations
from model.geometry import Size
from model.network.config import PROFILES


def test_the_base_layer_of_lite():
    """Of one latent: 4 patches of 8 x 8 pixels, and the linear parts of 768 pixels."""
    config, size = PROFILES["lite"], Size(160, 320)
    latents, M, D = 10 * 20, config.latents, config.synthesis_channels
    deep = config.synthesis_deep_blocks * (9 * M * D + D * M)
    blocks = config.synthesis_blocks * 4 * (9 * D * D + D * D)
    narrow, rest = M * M + M * 4 * D, 4 * D * 192 + M * 768
    found = operations(config, [size])
    assert found["synthesis"].all == 2 * latents * (deep + blocks + narrow + rest)
    assert found["synthesis"].narrow == 2 * latents * (deep + blocks + narrow)
    assert found["prediction"] == Operations()
    assert found["priors"].all > found["priors"].narrow == 0


def test_a_ladder_needs_the_sum_of_its_layers():
    config = PROFILES["lite"]
    both = operations(config, [Size(80, 80), Size(160, 160)])
    alone = operations(config, [Size(80, 80)])
    assert both["analysis"].all > 5 * alone["analysis"].all > 0
    assert both["prediction"].all > both["prediction"].narrow > 0


def test_each_type_of_numbers_has_its_own_peak():
    count = Operations(all=900.0, narrow=800.0)
    speeds = {"float32": 100.0, "bfloat16": 400.0}
    assert count.seconds(speeds, "bfloat16") == pytest.approx(800 / 400 + 100 / 100)
    assert count.seconds(speeds, "float32") == pytest.approx(9)
