"""The network as it is trained: CompressAI's normalisation and entropy models, and the rate."""

from collections.abc import Iterator
from math import log, sqrt

import numpy as np
import torch
from compressai.entropy_models import EntropyBottleneck
from compressai.layers import GDN
from compressai.ops import LowerBound
from torch import Tensor, nn

from model.codec.weights import scale_table
from model.geometry import Size
from model.network.compass import SCALE_HIGH, SCALE_LOW, Compass, Hyperprior
from model.network.config import Config
from model.network.rate import gaussian_bits, lagrange_multiplier
from model.network.transforms import Convolutions, analyse_whole, full_precision, synthesise_whole

SKIPPED_TABLES = 3
"""Latents of a scale that belongs to the first tables, below 0.14 of the quantiser's step, are not coded."""
_LOWEST_CODED = float(np.log(scale_table()[SKIPPED_TABLES - 1 : SKIPPED_TABLES + 1]).mean())


class TrainedHyperprior(Hyperprior):
    """A hyperprior with differentiable entropy models.

    CompressAI's GDN computes what :class:`model.network.compass.GDN` does, from the same parameters, with
    gradients that keep them positive.
    """

    def __init__(self, config: Config, enhancement: bool = False):
        super().__init__(config, enhancement)
        N = config.channels
        if isinstance(self.transforms, Convolutions):
            self.transforms.analysis_norms = nn.ModuleList([GDN(N) for _ in range(3)])
            self.transforms.synthesis_norms = nn.ModuleList([GDN(N, inverse=True) for _ in range(3)])
        self.bottleneck = EntropyBottleneck(N)
        self.lowest = LowerBound(log(SCALE_LOW))

    def medians(self) -> Tensor:
        """Centres (1, N, 1, 1) of the hyper-latent's distributions."""
        return self.bottleneck.quantiles[:, 0, 1].detach().view(1, -1, 1, 1)

    def forward(
        self, x: Tensor, level: Tensor, noisy: bool = False, prediction: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Pictures, or residuals to ``prediction``, (B, 3, h, w) at gain levels (B,).

        Returns their reconstruction and bits (B,). The latents with uniform noise give the rate, the
        rounded ones the distortion (section 3.3), or the noisy ones this too if ``noisy`` (the
        ablation of Table 4).
        """
        gain, inverse = self.gains(level)
        y = analyse_whole(self.transforms, x, prediction).float() * gain
        z = self.hyper_analyse(y)
        z_rounded = round_through(z - self.medians()) + self.medians()
        log_scale, mean = self.hyper_synthesise(z_rounded, Size(*y.shape[-2:]))
        mean, log_scale = mean.float(), log_scale.float()
        y_rounded = quantise(y, mean, log_scale)
        y_noisy = y + torch.rand_like(y) - 0.5 if self.training else y_rounded
        scale = torch.exp(self.lowest(log_scale).clamp(max=log(SCALE_HIGH)))
        y_bits = gaussian_bits(y_noisy - mean, scale).flatten(1).sum(1)
        used = (y_noisy if noisy else y_rounded) * inverse
        reconstruction = synthesise_whole(self.transforms, used, Size(*x.shape[-2:]), prediction)
        return reconstruction.float(), y_bits + self.hyper_bits(z)

    def hyper_bits(self, z: Tensor) -> Tensor:
        """Bits (B,) of hyper-latents (B, N, h, w), with uniform noise in training.

        What the bottleneck's own ``forward`` computes. That reads an order of axes from the device, and a
        GPU would be waited for.
        """
        with full_precision(z):
            values = z.float().transpose(0, 1)  # (N, B, h, w)
            flat = values.reshape(len(values), 1, -1)
            mode = "noise" if self.training else "dequantize"
            flat = self.bottleneck.quantize(flat, mode, self.medians().view(-1, 1, 1))
            likelihood = self.bottleneck.likelihood_lower_bound(self.bottleneck._likelihood(flat)[0])
            return -torch.log2(likelihood).view(*values.shape[:2], -1).sum((0, 2))


def quantise(y: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """What the decoder has of latents, of those not coded the means; with the gradient of the identity."""
    known = torch.where(log_scale < _LOWEST_CODED, mean, torch.round(y - mean) + mean)
    return y + (known - y).detach()


def round_through(x: Tensor) -> Tensor:
    """Round, with the gradient of the identity."""
    return x + (torch.round(x) - x).detach()


def to_8_bit(x: Tensor) -> Tensor:
    """Clamp to 0-1 and round to multiples of 1/255, straight through (every layer is 8-bit RGB)."""
    return round_through(x.clamp(0, 1) * 255) / 255


def initialise(config: Config, seed: int = 0) -> Compass:
    """A network with reproducible initial weights."""
    torch.manual_seed(seed)
    network = Compass(config, TrainedHyperprior)
    for module in _transforms(network):
        if isinstance(module, nn.ConvTranspose2d):  # each output sees a quarter of the taps
            nn.init.normal_(module.weight, std=1 / sqrt(module.in_channels * 25 / 4))
    for hyperprior in (network.base, network.enhancement):
        steps = 0.5 * torch.log(lagrange_multiplier(config, torch.arange(config.levels) * 1.0))
        steps = (steps - steps.mean())[:, None].expand_as(hyperprior.log_gain)
        hyperprior.log_gain.data.copy_(steps)
        hyperprior.log_inverse_gain.data.copy_(-steps)
    return network


def _transforms(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.modules():
        if isinstance(child, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            yield child
