"""A small network with random weights whose streams are lively, and pictures for it."""

from typing import Any

import numpy as np
import torch

from model.codec import Pixels
from model.config import Config
from model.network import Compass
from model.training.network import initialise

TINY = Config(
    channels=6,
    latents=11,
    hyper_channels=8,
    details=3,
    features=4,
    blocks=1,
    convs=2,
    growth=4,
    hidden=8,
    hidden_layers=2,
    levels=3,
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
            if hyperprior.has_details:
                hyperprior.detail_analysis.normal_(std=0.03)
                hyperprior.detail_synthesis.normal_(std=0.03)
        network.liff.last.weight.normal_(std=0.05)
        network.liff.last.bias.normal_(std=0.05)
    return network


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
