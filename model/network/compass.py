"""The whole COMPASS network: two mean-scale hyperpriors and the predictor between layers.

    base layer         x_0 = base(I_0)
    enhancement layer  x_k = p_k + enhancement(I_k - p_k),   p_k = liff(x_{k-1})     (eq. 1, 2)

Every enhancement layer shares the same ``enhancement`` and ``liff``. Modules hold weights only:
every padded or cropped size follows from the size of the layer, so that one network serves any
number of threads and a stream can be decoded by a process that did not write it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.geometry import Size, halved
from model.network.config import Config
from model.network.liff import LIFF
from model.network.transforms import down, pad_even, transforms, up

LEAK = 2.0**-7
"""Slope of the hyper-transforms' leaky rectifier: a shift, for integer evaluation."""
SCALE_LOW, SCALE_HIGH, SCALE_COUNT = 0.11, 64.0, 64
"""The table of Gaussian scales: geometric, in units of the (gained) latent's quantiser step."""


def quality_to_level(config: Config, quality: int) -> float:
    """The gain level of quality 1 to 100, linear; raises ValueError outside."""
    if not 1 <= quality <= 100:
        raise ValueError(f"quality is 1 to 100, not {quality}")
    return (config.levels - 1) * (quality - 1) / 99


def crop(x: Tensor, size: Size) -> Tensor:
    """The top left ``size`` of (B, C, h, w): undoes :func:`pad_even` after up-sampling."""
    return x[..., : size.height, : size.width]


class Hyperprior(nn.Module):
    """Mean-scale hyperprior (Minnen et al. 2018) with one gain vector per quality level.

        pixels -> transforms.analyse -> * gain -> y (M, h/16, w/16) -> hyper_analyse -> z (N, h/64, w/64)
        z, rounded -> hyper_synthesise -> scales and means of y
        y, rounded -> * inverse gain -> transforms.synthesise -> pixels

    The latent is multiplied by the gain before the hyper-transforms and the quantiser see it, so
    the priors are in units of the quantiser's step and need not know the quality.
    """

    def __init__(self, config: Config, enhancement: bool = False):
        super().__init__()
        N, M, J = config.channels, config.latents, config.hyper_channels
        self.transforms = transforms(config, enhancement)
        self.hyper_analysis = nn.ModuleList([nn.Conv2d(M, N, 3, padding=1), down(N, N), down(N, N)])
        self.hyper_synthesis = nn.ModuleList(
            [up(N, J), up(J, J * 3 // 2), nn.Conv2d(J * 3 // 2, M * 2, 3, padding=1)]
        )
        self.log_gain = nn.Parameter(torch.zeros(config.levels, M))
        self.log_inverse_gain = nn.Parameter(torch.zeros(config.levels, M))
        self.center: Tensor
        self.register_buffer("center", torch.zeros(1, N, 1, 1), persistent=False)

    def gains(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """Gain and inverse gain (B, M, 1, 1) at fractional levels (B,), geometrically interpolated."""
        low = level.floor().clamp(max=len(self.log_gain) - 2).long()
        part = (level - low)[:, None]
        mixed = (torch.lerp(g[low], g[low + 1], part) for g in (self.log_gain, self.log_inverse_gain))
        gain, inverse = (torch.exp(g)[:, :, None, None] for g in mixed)
        return gain, inverse

    def medians(self) -> Tensor:
        """Centres (1, N, 1, 1) of the hyper-latent's distributions."""
        return self.center

    def hyper_analyse(self, y: Tensor) -> Tensor:
        """Gained latent (B, M, h, w) -> hyper-latent (B, N, ceil h/4, ceil w/4).

        It sees the latent's inverse hyperbolic sine: at the highest quality a latent is a hundred times as
        large as at the lowest, and one network has to tell the scales of both.
        """
        y = torch.asinh(y)
        for i, conv in enumerate(self.hyper_analysis):
            y = conv(pad_even(y) if i else y)
            if i < 2:
                y = F.leaky_relu(y, LEAK)
        return y

    def hyper_synthesise(self, z: Tensor, size: Size) -> tuple[Tensor, Tensor]:
        """Hyper-latent -> (log of the scales, means) of the gained latent, each (B, M, *size)."""
        for i, conv in enumerate(self.hyper_synthesis):
            z = conv(z)
            if i < 2:
                z = F.leaky_relu(crop(z, halved(size, 1 - i)), LEAK)
        log_scale, mean = z.chunk(2, dim=1)
        return log_scale, mean


class Compass(nn.Module):
    """Base layer, enhancement layer and predictor.

    ``hyperprior``: the class of the two hyperpriors; :mod:`model.training.network` has the one
    that can be trained.
    """

    def __init__(self, config: Config, hyperprior: type[Hyperprior] = Hyperprior):
        super().__init__()
        self.config = config
        self.base = hyperprior(config)
        self.enhancement = hyperprior(config, enhancement=True)
        self.liff = LIFF(config)


def channels_last(network: Compass) -> Compass:
    """Lay out the convolutions' weights as the libraries are fastest with."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)
    return network
