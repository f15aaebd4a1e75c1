"""A small network with random weights whose streams are lively, and pictures for it."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.nn import Conv2d

from model.codec.pixels import Pixels
from model.geometry import Size
from model.network.compass import Compass
from model.network.config import Config
from model.network.transforms import Patches
from model.training.network import initialise

TINY = Config(
    channels=6,
    latents=11,
    hyper_channels=8,
    features=4,
    blocks=1,
    convs=2,
    growth=4,
    hidden=8,
    hidden_layers=2,
    levels=3,
)
TINY_PATCHES = replace(
    TINY,
    form="patches",
    analysis_channels=8,
    analysis_blocks=3,
    analysis_deep_blocks=2,
    synthesis_channels=6,
    synthesis_blocks=2,
    synthesis_deep_blocks=1,
    feature_step=2,
)


def lively_network(config: Config = TINY, seed: int = 1) -> Compass:
    """Random weights, scaled so that streams hold many symbols that are not 0, escapes among them."""
    network = initialise(config, seed)
    with torch.no_grad():
        hyperprior: Any
        for hyperprior in (network.base, network.enhancement):
            change = 4 + torch.randn(config.latents)
            hyperprior.log_gain += change
            hyperprior.log_inverse_gain -= change
            for conv in hyperprior.hyper_analysis:
                conv.weight *= 2
            log_scale, mean = hyperprior.hyper_synthesis[2].bias.view(2, -1)
            log_scale.uniform_(-2.3, 2)
            mean.uniform_(-4, 4)
            hyperprior.hyper_synthesis[2].weight *= 2
            if config.form == "patches":
                _enliven(hyperprior.transforms)
        network.liff.last.weight.normal_(std=0.05)
        network.liff.last.bias.normal_(std=0.05)
    return network


def _enliven(patches: Patches) -> None:
    """Give everything that begins as zero random weights."""
    for linear in (patches.linear_analysis, patches.linear_synthesis):
        linear.normal_(std=0.03)
    for module in patches.modules():
        if isinstance(module, Conv2d) and not module.weight.any():
            module.weight.normal_(std=0.05)


def picture_of(size: Size, seed: int = 0) -> Pixels:
    """As :func:`picture`."""
    return picture(size.width, size.height, seed)


def picture(width: int, height: int, seed: int = 0) -> Pixels:
    """Waves of several lengths, an edge and some noise."""
    random = np.random.default_rng(seed)
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    channels = []
    for _ in range(3):
        a, b, c, d = random.uniform(-0.3, 0.3, 4)
        wave = 128 + 50 * np.sin(a * x + b * y) + 40 * np.sin(0.1 * (c * x + d * y))
        channels.append(wave + 40 * (x > width * random.random()) + random.normal(0, 4, x.shape))
    return np.stack(channels, axis=-1).clip(0, 255).astype(np.uint8)
