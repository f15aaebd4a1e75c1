"""How many operations each stage of coding needs, and how many this machine can do in a second.

A multiplication and an addition count as two. Counted are convolutions and matrix products, of every layer
of a picture as a whole: what is computed twice along the edges of strips is not work that has to be done.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn

from model.geometry import Size, halved
from model.network.compass import Compass
from model.network.config import Config
from model.network.precision import narrow_parts
from model.network.transforms import analyse_whole, synthesise_whole
from model.training.speed import counting, peak


@dataclass
class Operations:
    """Of one stage: all of them, and the ``narrow`` ones among them, which may be computed in bfloat16."""

    all: float = 0.0
    narrow: float = 0.0

    def seconds(self, speeds: Mapping[str, float], fast: str) -> float:
        """What they take at the peak of each type, the narrow ones computed in ``fast``."""
        return self.narrow / speeds[fast] + (self.all - self.narrow) / speeds["float32"]


def peaks() -> dict[str, float]:
    """Operations per second of a large matrix product on one thread, by the name of the type of numbers."""
    types = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    return {name: peak(torch.device("cpu"), dtype) for name, dtype in types.items()}


def operations(config: Config, sizes: Sequence[Size]) -> dict[str, Operations]:
    """Of the network's parts for a ladder of layers; ``priors`` are integers, all others real numbers."""
    stages = ("analysis", "synthesis", "prediction", "priors")
    with torch.device("meta"), torch.no_grad():
        network = Compass(config)
        count = _Counter(network, stages)
        for k, size in enumerate(sizes):
            hyperprior = network.enhancement if k else network.base
            transforms, pixels = hyperprior.transforms, torch.empty(1, 3, *size)
            seen = pixels if k else None
            latents = torch.empty(1, config.latents, *halved(size, 4))
            hyper_latents = torch.empty(1, config.channels, *halved(size, 6))
            count("analysis", analyse_whole, transforms, pixels, seen)
            count("synthesis", synthesise_whole, transforms, latents, size, seen)
            count("priors", hyperprior.hyper_synthesise, hyper_latents, halved(size, 4))
        for small, large in pairwise(sizes):
            count("prediction", network.liff.low_resolution, torch.empty(1, 3, *small))
            count.total["prediction"].all += large.area * _per_pixel(config)
    return count.total


class _Counter:
    """Adds up, by stage, the operations of what it is called with."""

    def __init__(self, network: Compass, stages: Sequence[str]) -> None:
        self.total = {stage: Operations() for stage in stages}
        self._counter = counting()
        self._narrow = 0.0
        for part in narrow_parts(network):
            part.register_forward_pre_hook(self._before)
            part.register_forward_hook(self._after)

    def __call__(self, stage: str, work: Callable[..., object], *arguments: object) -> None:
        self._narrow = 0.0
        with self._counter:
            work(*arguments)
        self.total[stage].all += self._counter.get_total_flops()
        self.total[stage].narrow += self._narrow

    def _before(self, part: nn.Module, inputs: object) -> None:
        self._narrow -= self._counter.get_total_flops()

    def _after(self, part: nn.Module, inputs: object, outputs: object) -> None:
        self._narrow += self._counter.get_total_flops()


def _per_pixel(config: Config) -> float:
    """Of LIFF at one pixel of its output: the hidden layers, the filter, eight taps of the enlargement."""
    H, layers = config.hidden, config.hidden_layers - 1
    return 2 * (layers * H * H + 3 * H + 3 * 8)
