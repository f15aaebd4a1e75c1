"""How many operations each stage of coding needs, and how many this machine can do in a second.

A multiplication and an addition count as two. Counted are convolutions and matrix products, of every layer
of a picture as a whole: what is computed twice along the edges of strips is not work that has to be done.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch

from model.geometry import Size, halved
from model.network.compass import Compass
from model.network.config import Config
from model.network.transforms import analyse_whole, synthesise_whole
from model.training.speed import counting, peak

Operations = dict[str, float]
"""By stage."""


def peaks() -> dict[str, float]:
    """Operations per second of a large matrix product on one thread, by the name of the type of numbers."""
    types = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    return {name: peak(torch.device("cpu"), dtype) for name, dtype in types.items()}


def operations(config: Config, sizes: Sequence[Size]) -> Operations:
    """Of the network's parts for a ladder of layers; ``priors`` are integers, all others real numbers."""
    with torch.device("meta"), torch.no_grad():
        network = Compass(config)
        total = {"analysis": 0.0, "synthesis": 0.0, "prediction": 0.0, "priors": 0.0}
        for k, size in enumerate(sizes):
            hyperprior = network.enhancement if k else network.base
            transforms, pixels = hyperprior.transforms, torch.empty(1, 3, *size)
            seen = pixels if k else None
            latents = torch.empty(1, config.latents, *halved(size, 4))
            hyper_latents = torch.empty(1, config.channels, *halved(size, 6))
            total["analysis"] += _counted(analyse_whole, transforms, pixels, seen)
            total["synthesis"] += _counted(synthesise_whole, transforms, latents, size, seen)
            total["priors"] += _counted(hyperprior.hyper_synthesise, hyper_latents, halved(size, 4))
        for small, large in pairwise(sizes):
            total["prediction"] += _counted(network.liff.low_resolution, torch.empty(1, 3, *small))
            total["prediction"] += large.area * _per_pixel(config)
    return total


def _counted(work: Callable[..., object], *arguments: object) -> float:
    with counting() as counter:
        work(*arguments)
    return counter.get_total_flops()


def _per_pixel(config: Config) -> float:
    """Of LIFF at one pixel of its output: the hidden layers, the filter, eight taps of the enlargement."""
    H, layers = config.hidden, config.hidden_layers - 1
    return 2 * (layers * H * H + 3 * H + 3 * 8)
