"""How patches begin: as the principal components of photographs (Karhunen-Loeve transform).

So training begins as a working transform codec; begun from random numbers it would need a tenth of its
time to get there.
"""

from math import log

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.network.config import Config
from model.network.rate import lagrange_multiplier
from model.network.transforms import LATENT, Patches
from model.training.data import Pictures
from model.training.network import TrainedHyperprior

BATCHES, COUNT, SIDE = 64, 8, 256
"""How many crops of which size the components are made from."""


def fine_log_gain(multiplier: Tensor) -> Tensor:
    """The logarithm of the gain of orthonormal latents at Lagrange multipliers.

    At a fine step s a latent costs -log2 s bits and adds s^2 / 12 to the squared error of its patch:
    rate + lambda 255^2 mse is least at s^2 = 18 / (ln 2 lambda 255^2).
    """
    return 0.5 * torch.log(multiplier * 255**2 * log(2) / 18)


@torch.no_grad()
def begin(hyperprior: TrainedHyperprior, config: Config, pictures: Pictures, seed: int) -> None:
    """Give a new base layer, whose transforms are patches, their linear parts, gains and scales."""
    patches = hyperprior.transforms
    assert isinstance(patches, Patches)
    device = patches.linear_analysis.device
    generator = torch.Generator().manual_seed(seed)
    products = torch.zeros((3 * LATENT**2,) * 2, dtype=torch.float64, device=device)
    count = 0
    for _ in range(BATCHES):
        crops = pictures.crops(COUNT, SIDE, 0.75, generator) - patches.grey
        blocks = F.pixel_unshuffle(crops, LATENT).permute(0, 2, 3, 1).flatten(0, 2)
        products += (blocks.T @ blocks).double()
        count += len(blocks)
    values, vectors = torch.linalg.eigh(products / count)
    directions = vectors.flip(1)[:, : config.latents].float()
    deviations = values.flip(0)[: config.latents].clamp(min=1e-12).sqrt().float()
    patches.linear_analysis.copy_(directions.T)
    patches.linear_synthesis.copy_(directions)
    log_gain = fine_log_gain(lagrange_multiplier(config, torch.arange(config.levels, device=device)))
    hyperprior.log_gain.copy_(log_gain[:, None].expand_as(hyperprior.log_gain))
    hyperprior.log_inverse_gain.copy_(-hyperprior.log_gain)
    last = hyperprior.hyper_synthesis[2]
    assert isinstance(last, nn.Conv2d)
    assert last.bias is not None
    last.weight.mul_(0.3)
    log_scale, mean = last.bias.data.chunk(2)
    log_scale.copy_(torch.log(deviations) + log_gain.mean() - 0.7)
    mean.zero_()
